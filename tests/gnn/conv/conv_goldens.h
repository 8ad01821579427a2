// Goldens of tests/gnn/conv/goldens as matrices by name.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "halo/attention/projections.h"
#include "halo/core/csr_mask.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn::test {

using Golden = std::map<std::string, Matrix>;

inline Golden read_golden(const std::string& name) {
  std::ifstream file(std::string(HALO_SOURCE_DIR) + "/tests/gnn/conv/goldens/conv_" + name +
                     ".txt");
  EXPECT_TRUE(file.good()) << name;
  Golden golden;
  std::string key;
  std::size_t rows = 0, cols = 0;
  while (file >> key >> rows >> cols) {
    Matrix matrix(rows, cols);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < cols; ++j) file >> matrix.row(i)[j];
    }
    golden.emplace(key, std::move(matrix));
  }
  return golden;
}

inline CsrMask golden_mask(const Golden& golden) {
  const Matrix& edges = golden.at("edges");
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  for (std::size_t e = 0; e < edges.rows(); ++e) {
    pairs.emplace_back(static_cast<std::uint32_t>(edges.row(e)[0]),
                       static_cast<std::uint32_t>(edges.row(e)[1]));
  }
  const std::size_t n = golden.at("x").rows();
  return CsrMask::from_pairs(n, n, pairs);
}

inline void expect_near(const MatrixView& found, const Matrix& expected, const std::string& what) {
  ASSERT_EQ(found.rows, expected.rows()) << what;
  ASSERT_EQ(found.cols, expected.cols()) << what;
  for (std::size_t i = 0; i < found.rows; ++i) {
    for (std::size_t j = 0; j < found.cols; ++j) {
      EXPECT_NEAR(found.row(i)[j], expected.row(i)[j], 2e-5 + 2e-5 * std::abs(expected.row(i)[j]))
          << what << " " << i << " " << j;
    }
  }
}

template <class Layer>
void set_parameters(Layer& layer, const Golden& golden) {
  layer.visit([&](const std::string& name, const MatrixSpan& value) {
    const Matrix& from = golden.at(name);
    ASSERT_EQ(from.rows(), value.rows) << name;
    ASSERT_EQ(from.cols(), value.cols) << name;
    for (std::size_t i = 0; i < value.rows; ++i) {
      std::copy_n(from.row(i), value.cols, value.row(i));
    }
  });
}

inline void expect_gradients(const attention::Gradients& gradients, const Golden& golden) {
  for (const auto& [name, value] : gradients.named()) {
    expect_near(value, golden.at("d_" + name), "d_" + name);
  }
}

}  // namespace halo::gnn::test
