// ann-benchmarks HDF5 files (ann-benchmarks.com): two-dimensional data sets of numbers.
//
// Built without HDF5, every call throws kUnsupportedFormat saying so. Only a data set that lies in
// the file itself, plain or compressed with deflate, is read: no external storage, links to other
// files, virtual data sets or filter plug-ins. Thread-safety: calls wait for each other, because
// libhdf5 is not safe for threads. Errors: vectors.h.
#pragma once

#include <filesystem>
#include <string>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"
#include "halo/integration/io/vectors.h"

namespace halo::io {

/// False where halo was built without HDF5.
bool hdf5_available();

/// `data_set`: a name at the root of the file. Floating-point numbers, int8 or uint8.
Matrix read_hdf5_vectors(const FileSystem& file_system, const std::filesystem::path& path,
                         const std::string& data_set);
/// Integers of any width.
IdMatrix read_hdf5_integers(const FileSystem& file_system, const std::filesystem::path& path,
                            const std::string& data_set);

}  // namespace halo::io
