// big-ann-benchmarks .fbin, .u8bin and .i8bin: uint32 rows, uint32 columns, then the rows.
//
// Thread-safety: pure functions. Errors: vectors.h.
#pragma once

#include <filesystem>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"

namespace halo::io {

Matrix read_bin_vectors(const FileSystem& file_system, const std::filesystem::path& path);

}  // namespace halo::io
