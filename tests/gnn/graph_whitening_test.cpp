#include "halo/gnn/graph_whitening.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

// Two groups told apart by dimension 0, with much variance that has nothing to do with them in
// dimension 1; neighbours are members of the same group.
struct TwoGroups {
  static constexpr std::uint32_t kRows = 200, kDim = 6;
  Matrix x = Matrix::padded(kRows, kDim);
  RankedWindows windows;

  TwoGroups() {
    Random random(4);
    std::vector<std::vector<std::uint32_t>> rows(kRows);
    for (std::uint32_t i = 0; i < kRows; ++i) {
      for (std::size_t c = 0; c < kDim; ++c)
        x.row(i)[c] = static_cast<float>(0.3 * random.normal());
      x.row(i)[0] += i % 2 == 0 ? 1.0F : -1.0F;
      x.row(i)[1] *= 10.0F;
      rows[i] = {(i + 2) % kRows, (i + kRows - 2) % kRows};
      std::sort(rows[i].begin(), rows[i].end());
    }
    windows = rank_windows(x, CsrMask::from_rows(std::move(rows), kRows), 2, Executor(1));
  }

  // Mean cosine within a group less that between groups, in a view of x.
  double contrast(const Projection& projection) const {
    Matrix y(kRows, projection.out_dim());
    projection.apply(x, y, Executor(1));
    double within = 0, between = 0;
    for (std::size_t i = 0; i < 40; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        (i % 2 == j % 2 ? within : between) += kernels::dot(y.row(i), y.row(j), y.cols());
      }
    }
    return within / 380 - between / 400;
  }
};

TEST(GraphWhitening, ShrinksWhatVariesBetweenNeighbours) {
  const TwoGroups data;
  const Spectrum spectrum = covariance_spectrum(data.x, 1000, Executor(1));
  const Projection whitened =
      graph_whitened_projection(data.x, spectrum, data.windows, 6, 2, Executor(2));
  EXPECT_EQ(whitened.out_dim(), 2U);
  EXPECT_GT(data.contrast(whitened), 1.2);
  EXPECT_GT(data.contrast(whitened), 2 * data.contrast(centred_projection(spectrum)));
}

TEST(GraphWhitening, WithoutMutualEdgesIsTheSpectralProjection) {
  const TwoGroups data;
  const Spectrum spectrum = covariance_spectrum(data.x, 1000, Executor(1));
  RankedWindows none;
  none.width = 1;
  none.nodes.assign(TwoGroups::kRows, 0);
  none.similarities.assign(TwoGroups::kRows, 0.0F);
  none.counts.assign(TwoGroups::kRows, 0);
  const Projection same = graph_whitened_projection(data.x, spectrum, none, 4, 2, Executor(1));
  EXPECT_EQ(same.out_dim(), spectral_projection(spectrum, 4).out_dim());
}

TEST(GraphWhitening, SurvivesConstantData) {
  Matrix x = Matrix::padded(5, 3);
  const Spectrum spectrum = covariance_spectrum(x, 10, Executor(1));
  const TwoGroups other;
  RankedWindows windows;
  windows.width = 1;
  windows.nodes = {1, 0, 3, 2, 0};
  windows.similarities.assign(5, 0.0F);
  windows.counts.assign(5, 1);
  const Projection projection = graph_whitened_projection(x, spectrum, windows, 4, 2, Executor(1));
  Matrix y(5, projection.out_dim());
  projection.apply(x, y, Executor(1));
  for (const float v : y.row_span(0)) EXPECT_EQ(v, 0.0F);
}

}  // namespace
}  // namespace halo::gnn
