// Results as NumPy .npy files, version 1.0, byte for byte what numpy.save writes.
//
// Thread-safety: pure functions. Errors: kNoSpace, kIo, kNotFound (folder); the old file stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"

namespace halo::io {

/// `values`: rows x cols, row-major; kInvalidArgument where its size is another. Atomic.
void write_npy(const std::filesystem::path& path, std::size_t rows, std::size_t cols,
               std::span<const std::int64_t> values,
               const FileSystem& file_system = posix_file_system());
/// The same for float32; a view's row padding is left out. Atomic.
void write_npy(const std::filesystem::path& path, const MatrixView& values,
               const FileSystem& file_system = posix_file_system());

}  // namespace halo::io
