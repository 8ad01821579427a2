// NumPy's .npy, versions 1.0 to 3.0 (numpy/lib/format.py): a magic, a Python dictionary as text,
// the elements.
//
// Read: C order, little endian, one or two dimensions, the file's length exactly what the header
// says. Written: version 1.0, as NumPy writes it. Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"
#include "halo/integration/io/vectors.h"

namespace halo::io {

/// Two-dimensional f2, f4, f8, u1 or i1. Errors: vectors.h.
Matrix read_npy_vectors(const FileSystem& file_system, const std::filesystem::path& path);
/// Integers of any width; one dimension reads as n rows of one column.
IdMatrix read_npy_integers(const FileSystem& file_system, const std::filesystem::path& path);

}  // namespace halo::io
