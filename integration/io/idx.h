// IDX, the form of MNIST and Fashion-MNIST (yann.lecun.com/exdb/mnist): two zero bytes, a type, the
// number of dimensions, each dimension as a big-endian uint32, the elements. Unsigned bytes only,
// plain or gzipped (".gz").
//
// Thread-safety: pure functions. Errors: vectors.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"

namespace halo::io {

/// Two or more dimensions; all but the first are flattened to one vector.
Matrix read_idx_vectors(const FileSystem& file_system, const std::filesystem::path& path);
/// One dimension.
std::vector<std::int64_t> read_idx_labels(const FileSystem& file_system,
                                          const std::filesystem::path& path);

}  // namespace halo::io
