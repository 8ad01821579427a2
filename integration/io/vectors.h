// Vectors, ids, labels, ground truth and judgements from the files people already have.
//
// Which reader is used follows the file's ending (any case):
//   .npy                     NumPy 1.0 - 3.0, C order, little endian
//   .fvecs .bvecs .ivecs     TEXMEX: each record an int32 length and as many float32, uint8, int32
//   .fbin .u8bin .i8bin      big-ann-benchmarks: uint32 rows, uint32 columns, then the rows
//   .hdf5 .h5                ann-benchmarks: data sets train, test and neighbors; "file.hdf5:name"
//                            picks another one
//   *-ubyte, *-ubyte.gz      IDX, the form of MNIST and Fashion-MNIST: unsigned bytes
// Every size a header states is checked against the file's length before memory is allocated; a
// file is read whole or not at all, and bytes left over are an error. Values are not judged: NaN
// and infinity are refused where an index or a search takes the vectors in.
// The HDF5 file is opened by libhdf5, which is robust against accidents, not against malice: give
// it no file from strangers.
//
// Thread-safety: every function may be called from any number of threads.
// Errors: kNotFound, kIo, kUnsupportedFormat (ending or contents of another kind), kCorrupt
// (truncated, garbled or contradictory), kEmpty, kInvalidArgument; each names the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"

namespace halo::io {

/// Which data set of an ann-benchmarks file is meant; other files hold only one.
enum class VectorRole {
  kBase,   ///< "train"
  kQuery,  ///< "test"
};

/// rows x cols integers, row-major.
struct IdMatrix {
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::vector<std::int64_t> values;
  std::span<const std::int64_t> row(std::size_t i) const {
    return std::span(values).subspan(i * cols, cols);
  }
};

/// One line of a qrels file: how relevant `id` is to query number `query`.
struct Judgement {
  std::size_t query = 0;
  std::int64_t id = 0;
  int grade = 0;
  bool operator==(const Judgement&) const = default;
};

/// float32, or float16, float64, uint8, int8 converted to it. At least one vector of at least one
/// dimension: kEmpty otherwise. IDX images are flattened, a pixel is 0 to 255. O(file).
Matrix load_vectors(const std::filesystem::path& path, VectorRole role = VectorRole::kBase,
                    const FileSystem& file_system = posix_file_system());

/// One integer a row: .npy of any integer width and shape [n], [n, 1] or [1, n], or .ivecs of such
/// a shape. Not judged: whether they may be ids is the index's to say. O(file).
std::vector<std::int64_t> load_ids(const std::filesystem::path& path,
                                   const FileSystem& file_system = posix_file_system());

/// As load_ids(), and IDX label files. O(file).
std::vector<std::int64_t> load_labels(const std::filesystem::path& path,
                                      const FileSystem& file_system = posix_file_system());

/// The true neighbours, one row a query, best first: .npy integers [queries, k], .ivecs, or
/// "neighbors" of an ann-benchmarks file. O(file).
IdMatrix load_ground_truth(const std::filesystem::path& path,
                           const FileSystem& file_system = posix_file_system());

/// TREC judgements: lines of four fields, "query row, 0, base id, grade", in the file's order. The
/// second field is ignored, as TREC does; blank lines, tabs and CRLF are fine. A line of another
/// form is kCorrupt with its number; so is, where `num_queries` is given, a query row not below it.
std::vector<Judgement> load_qrels(const std::filesystem::path& path,
                                  std::optional<std::size_t> num_queries = std::nullopt,
                                  const FileSystem& file_system = posix_file_system());

}  // namespace halo::io
