#include "halo/gnn/content_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "support/row_adaptive_reference.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

using Columns = std::vector<std::uint32_t>;

Matrix unit_rows(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  Matrix x = test::random_matrix(rows, cols, seed);
  for (std::size_t i = 0; i < rows; ++i) kernels::normalise(x.row(i), cols);
  return x;
}

CsrMask random_windows(std::size_t n, std::size_t width, std::uint64_t seed) {
  Random random(seed);
  std::vector<Columns> rows(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 7 == 3) continue;  // a node without a window
    for (std::size_t e = 0; e < width; ++e)
      rows[i].push_back(static_cast<std::uint32_t>(random.below(n)));
  }
  return CsrMask::from_rows(std::move(rows), n);
}

std::vector<double> reference_row(const float* x, const MatrixView& states,
                                  std::span<const std::uint32_t> window,
                                  std::span<const std::uint32_t> global,
                                  const ContentLayerOptions& options) {
  const auto local = test::row_adaptive_row(x, states, states, window, options.sharpness);
  const auto upper = test::row_adaptive_row(x, states, states, global, options.sharpness);
  std::vector<double> out(states.cols);
  double squares = 0;
  for (std::size_t d = 0; d < states.cols; ++d) {
    out[d] = (1.0 - options.neighbour_share) * x[d] + options.neighbour_share * local[d] +
             options.global_gate * upper[d];
    squares += out[d] * out[d];
  }
  for (double& v : out) v /= std::sqrt(squares);
  return out;
}

TEST(ContentLayer, MatchesTheFormulaWithAndWithoutAGlobalTerm) {
  for (const float gate : {0.0F, 0.4F, -0.3F}) {
    for (const std::size_t n : {1U, 5U, 300U}) {
      const ContentLayerOptions options{4.0F, 0.6F, gate};
      const Matrix x = unit_rows(n, 19, 1);
      const CsrMask windows = random_windows(n, 6, 2);
      ContentLayer layer(options);
      const Columns global{0, static_cast<std::uint32_t>(n - 1), 0};
      layer.update_global_indices(global);
      Matrix out = Matrix::padded(n, 19), again = Matrix::padded(n, 19);
      layer.forward(x, windows, out, Executor(1));
      layer.forward(x, windows, again, Executor(4));
      for (std::size_t i = 0; i < n; ++i) {
        const auto expected =
            reference_row(x.row(i), x, windows.row(i), layer.global_indices(), options);
        for (std::size_t d = 0; d < 19; ++d) ASSERT_NEAR(out.row(i)[d], expected[d], 2e-5);
        ASSERT_EQ(std::memcmp(out.row(i), again.row(i), 19 * sizeof(float)), 0);
      }
    }
  }
}

TEST(ContentLayer, OneRowOutsideTheGraphUsesTheSameUpdate) {
  const ContentLayerOptions options{4.0F, 0.6F, 0.2F};
  const Matrix x = unit_rows(50, 12, 3);
  const Columns window{4, 9, 30}, global{1, 2};
  Matrix window_rows(3, 12), global_rows(2, 12);
  for (std::size_t i = 0; i < 3; ++i) std::copy_n(x.row(window[i]), 12, window_rows.row(i));
  for (std::size_t i = 0; i < 2; ++i) std::copy_n(x.row(global[i]), 12, global_rows.row(i));
  std::vector<float> query(x.row(7), x.row(7) + 12), scratch(12);
  ContentLayer(options).forward_row(query, window_rows, global_rows, scratch);
  const auto expected = reference_row(x.row(7), x, window, global, options);
  for (std::size_t d = 0; d < 12; ++d) EXPECT_NEAR(query[d], expected[d], 1e-5);
}

TEST(ContentLayer, GlobalIndicesAreMergedAndChecked) {
  ContentLayer layer(ContentLayerOptions{});
  layer.update_global_indices(Columns{5, 1, 5, 3});
  EXPECT_EQ(Columns(layer.global_indices().begin(), layer.global_indices().end()),
            (Columns{1, 3, 5}));
  const Matrix x = unit_rows(5, 4, 1);
  Matrix out(5, 4);
  test::expect_error(ErrorCode::kInvalidArgument, "global index 5 of 5",
                     [&] { layer.forward(x, random_windows(5, 2, 1), out, Executor(1)); });
}

TEST(ContentLayer, TheLoopRefreshesGlobalIndicesBeforeEachLayer) {
  // Two GNN layers, each with other global nodes: the result must be the two layers run by hand.
  const ContentLayerOptions options{4.0F, 0.5F, 0.5F};
  const CsrMask windows = random_windows(40, 5, 8);
  const std::vector<Columns> global{{0, 1, 2}, {7, 20, 21, 39}};
  std::vector<std::size_t> asked;
  std::vector<Matrix> states;
  run_content_layers(
      unit_rows(40, 9, 6), windows,
      [&](std::size_t layer) {
        asked.push_back(layer);
        return std::span<const std::uint32_t>(global[layer]);
      },
      2, options,
      [&](std::size_t t, const MatrixView& state) {
        EXPECT_EQ(t, states.size());
        states.push_back(Matrix::copy_of(state));
      },
      Executor(2));
  EXPECT_EQ(asked, (std::vector<std::size_t>{0, 1}));
  ASSERT_EQ(states.size(), 3U);
  for (std::size_t t = 0; t < 2; ++t) {
    for (std::size_t i = 0; i < 40; ++i) {
      const auto expected =
          reference_row(states[t].row(i), states[t], windows.row(i), global[t], options);
      for (std::size_t d = 0; d < 9; ++d) EXPECT_NEAR(states[t + 1].row(i)[d], expected[d], 2e-5);
    }
  }
}

TEST(ContentLayer, StopsOnRequest) {
  std::stop_source source;
  source.request_stop();
  test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
    run_content_layers(
        unit_rows(5, 4, 1), random_windows(5, 2, 1),
        [](std::size_t) { return std::span<const std::uint32_t>(); }, 2, {},
        [](std::size_t, const MatrixView&) {}, Executor(1), Job{nullptr, source.get_token()});
  });
}

}  // namespace
}  // namespace halo::gnn
