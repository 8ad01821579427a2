// TEXMEX .fvecs, .bvecs and .ivecs (corpus-texmex.irisa.fr): records of an int32 length and as many
// float32, uint8 or int32; all records of a file have one length.
//
// Thread-safety: pure functions. Errors: vectors.h.
#pragma once

#include <filesystem>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"
#include "halo/integration/io/vectors.h"

namespace halo::io {

/// .fvecs and .bvecs; .ivecs is refused, because it holds ids.
Matrix read_vecs_vectors(const FileSystem& file_system, const std::filesystem::path& path);
/// .ivecs only.
IdMatrix read_vecs_integers(const FileSystem& file_system, const std::filesystem::path& path);

}  // namespace halo::io
