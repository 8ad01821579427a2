// Reading a file's bytes by name, without a disk, and looking at what comes out.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "halo/integration/io/vectors.h"
#include "integration/io/memory_file_system.h"
#include "integration/io/samples.h"
#include "support/test_support.h"

namespace halo::io::test {

inline Matrix vectors_in(const std::string& name, Bytes bytes) {
  return load_vectors(name, VectorRole::kBase, MemoryFileSystem(name, std::move(bytes)));
}
inline std::vector<std::int64_t> ids_in(const std::string& name, Bytes bytes) {
  return load_ids(name, MemoryFileSystem(name, std::move(bytes)));
}
inline std::vector<std::int64_t> labels_in(const std::string& name, Bytes bytes) {
  return load_labels(name, MemoryFileSystem(name, std::move(bytes)));
}
inline IdMatrix truth_in(const std::string& name, Bytes bytes) {
  return load_ground_truth(name, MemoryFileSystem(name, std::move(bytes)));
}
inline std::vector<Judgement> qrels_in(const std::string& text,
                                       std::optional<std::size_t> num_queries = std::nullopt) {
  return load_qrels("qrels", num_queries, MemoryFileSystem("qrels", bytes_of(text)));
}

/// Row-major values; NaN equals NaN.
inline void expect_matrix(const Matrix& matrix, std::size_t rows, std::size_t cols,
                          std::initializer_list<float> values) {
  ASSERT_EQ(matrix.rows(), rows);
  ASSERT_EQ(matrix.cols(), cols);
  ASSERT_EQ(values.size(), rows * cols);
  for (std::size_t i = 0; i < rows * cols; ++i) {
    const float expected = values.begin()[i];
    const float found = matrix.row(i / cols)[i % cols];
    EXPECT_TRUE(found == expected || (found != found && expected != expected))
        << i << ": " << found << ", expected " << expected;
  }
}

/// Expects an error whose message begins with the file's name and holds `text`.
template <class Statement>
void expect_refusal(ErrorCode code, const std::string& name, const std::string& text,
                    Statement&& statement) {
  halo::test::expect_error(code, name, statement);
  halo::test::expect_error(code, text, statement);
}

}  // namespace halo::io::test
