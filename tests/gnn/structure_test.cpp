#include "halo/gnn/structure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

double share(const StructureRows& rows, std::size_t i, std::uint32_t entry) {
  const double root = rows.root_of(entry);
  return root * root * double{rows.share_of_square(i)};
}

using Dense = std::vector<std::vector<double>>;

RankedWindows ring_windows(std::size_t n, std::size_t reach, std::uint64_t seed) {
  const Matrix x = test::random_matrix(n, 8, seed);
  std::vector<std::vector<std::uint32_t>> rows(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t step = 1; step <= reach; ++step) {
      rows[i].push_back(static_cast<std::uint32_t>((i + step * step) % n));
    }
    std::sort(rows[i].begin(), rows[i].end());
    rows[i].erase(std::unique(rows[i].begin(), rows[i].end()), rows[i].end());
    rows[i].erase(std::remove(rows[i].begin(), rows[i].end(), i), rows[i].end());
  }
  return rank_windows(x, CsrMask::from_rows(std::move(rows), n), reach, Executor(1));
}

// The formula in double precision, dense.
Dense reference(const RankedWindows& windows, const StructureOptions& options) {
  const std::size_t n = windows.size();
  Dense a(n, std::vector<double>(n, 0.0));
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = windows.row(i, options.window);
    const auto s = windows.row_similarities(i, options.window);
    double sum = 0;
    for (std::size_t e = 0; e < row.size(); ++e) {
      const auto back = windows.row(row[e], options.window);
      const bool mutual = std::find(back.begin(), back.end(), i) != back.end();
      a[i][row[e]] =
          std::exp(options.sharpness * (s[e] - s.front()) / std::max(s.front() - s.back(), 1e-4F)) *
          (mutual ? 1.0 : double{options.one_sided});
      sum += a[i][row[e]];
    }
    for (double& v : a[i]) v = sum > 0 ? v / sum : 0;
    a[i][i] += row.empty() ? 1.0 : double{options.self_share};
  }
  Dense x = a;
  for (std::size_t t = 0; t < options.steps; ++t) {
    Dense next(n, std::vector<double>(n, 0.0));
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < n; ++k) {
        if (a[i][k] == 0) continue;
        for (std::size_t j = 0; j < n; ++j) next[i][j] += a[i][k] * x[k][j];
      }
    }
    x = std::move(next);
  }
  for (auto& row : x) {
    double sum = 0;
    for (const double v : row) sum += v;
    for (double& v : row) v /= sum;
  }
  return x;
}

TEST(Structure, FollowsTheFormulaWhereNothingIsCutOff) {
  for (const std::size_t n : {1U, 2U, 17U, 60U}) {
    const RankedWindows windows = ring_windows(n, 5, n);
    StructureOptions options;
    options.steps = 3;
    options.window = 4;
    options.kept = 64;
    const Dense expected = reference(windows, options);
    const StructureRows rows = diffuse(windows, options, Executor(2));
    ASSERT_EQ(rows.size(), n);
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> got(n, 0.0);
      for (const auto entry : rows.row(i)) got[rows.node_of(entry)] += share(rows, i, entry);
      for (std::size_t j = 0; j < n; ++j) {
        // 8 bits of the square root: within half a step of the heaviest's 255.
        const double heaviest = *std::max_element(expected[i].begin(), expected[i].end());
        EXPECT_NEAR(std::sqrt(got[j]), std::sqrt(expected[i][j]),
                    0.004 * std::sqrt(heaviest) + 1e-3)
            << n << ' ' << i << ' ' << j;
      }
    }
  }
}

TEST(Structure, KeepsTheHeaviestEntries) {
  const RankedWindows windows = ring_windows(120, 8, 5);
  StructureOptions narrow, wide;
  narrow.kept = 16;
  narrow.steps = wide.steps = 2;
  wide.kept = 128;
  const StructureRows few = diffuse(windows, narrow, Executor(1)),
                      many = diffuse(windows, wide, Executor(1));
  for (std::size_t i = 0; i < 120; ++i) {
    const auto roots_of = [i](const StructureRows& rows) {
      std::vector<int> roots;
      for (const auto entry : rows.row(i)) roots.push_back(static_cast<int>(rows.root_of(entry)));
      std::sort(roots.rbegin(), roots.rend());
      return roots;
    };
    EXPECT_EQ(roots_of(few).front(), 255);
    EXPECT_GE(roots_of(few).back(), roots_of(many)[15] - 1);
    double sum = 0;
    for (const auto entry : few.row(i)) sum += share(few, i, entry);
    EXPECT_NEAR(sum, 1.0, 1e-4);
  }
}

TEST(Structure, SameBytesAtAnyThreadCount) {
  const RankedWindows windows = ring_windows(500, 12, 9);
  const StructureRows one = diffuse(windows, {}, Executor(1)),
                      four = diffuse(windows, {}, Executor(4));
  for (std::size_t i = 0; i < 500; ++i) {
    EXPECT_TRUE(std::ranges::equal(one.row(i), four.row(i)));
  }
}

TEST(Structure, RootsGiveWayToTheNumbersOfManyNodes) {
  EXPECT_EQ(StructureRows(1, 16).root_bits(), 8U);
  EXPECT_EQ(StructureRows(std::size_t{1} << 24U, 0).root_bits(), 8U);
  const StructureRows rows((std::size_t{1} << 24U) + 1, 0);
  EXPECT_EQ(rows.root_bits(), 7U);
  const std::uint32_t node = std::uint32_t{1} << 24U, entry = rows.entry(node, 127);
  EXPECT_EQ(rows.node_of(entry), node);
  EXPECT_EQ(rows.root_of(entry), 127U);
  test::expect_error(ErrorCode::kInvalidArgument, "at most",
                     [] { StructureRows((std::size_t{1} << 28U) + 1, 16); });
}

TEST(Structure, WeightsOfNoneAndOfOnlyOneSidedNeighbours) {
  StructureOptions options;
  std::vector<float> none;
  structure_weights(none, {}, options);
  std::vector<float> weights{0.5F, 0.5F};
  structure_weights(weights, std::vector<std::uint8_t>{0, 0}, options);
  EXPECT_FLOAT_EQ(weights[0], 0.5F);
  options.one_sided = 0;
  structure_weights(weights, std::vector<std::uint8_t>{0, 0}, options);
  EXPECT_EQ(weights[0], 0.0F) << "no neighbour left: no weight, no NaN";
}

TEST(Structure, OptionsOutOfRangeAreRefused) {
  const auto refused = [](const char* text, auto&& spoil) {
    StructureOptions options;
    spoil(options);
    test::expect_error(ErrorCode::kInvalidArgument, text, [&] { options.validate(); });
  };
  refused("window", [](auto& o) { o.window = 0; });
  refused("sharpness", [](auto& o) { o.sharpness = NAN; });
  refused("one_sided", [](auto& o) { o.one_sided = 2; });
  refused("self_share", [](auto& o) { o.self_share = 0; });
  refused("steps", [](auto& o) { o.steps = 0; });
  refused("kept", [](auto& o) { o.kept = 20; });
  refused("breadth", [](auto& o) { o.breadth = 16; });
}

}  // namespace
}  // namespace halo::gnn
