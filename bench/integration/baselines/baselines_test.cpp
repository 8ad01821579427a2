// The sparse baselines beside dense, literal transcriptions of their papers' formulas in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "gnn_reranking.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "k_reciprocal.h"
#include "neighbour_lists.h"
#include "query_expansion.h"

namespace halo::bench {
namespace {

using Dense = std::vector<std::vector<double>>;

constexpr std::size_t kDim = 24, kBase = 150, kDepth = 32;

Matrix unit_clusters(std::size_t rows, std::uint64_t stream) {
  Matrix x(rows, kDim);
  for (std::size_t i = 0; i < rows; ++i) {
    Random centre(3, i % 5), noise(stream, i);
    for (std::size_t d = 0; d < kDim; ++d) {
      x.row(i)[d] = static_cast<float>(centre.normal() + noise.normal());
    }
    kernels::normalise(x.row(i), kDim);
  }
  return x;
}

/// Base and guests joined, with every similarity in double.
struct Setting {
  explicit Setting(std::size_t guest_rows)
      : base(unit_clusters(kBase, 1)), guests(unit_clusters(guest_rows, 2)), nodes{base, guests} {
    const Executor one(1);
    Matrix to_base(guest_rows, kBase), to_guests(guest_rows, guest_rows);
    const auto fill = [&](std::size_t g, std::size_t node) {
      return nodes.similarity(kBase + g, node);
    };
    for (std::size_t g = 0; g < guest_rows; ++g) {
      for (std::size_t i = 0; i < kBase; ++i) to_base.row(g)[i] = fill(g, i);
      for (std::size_t h = 0; h < guest_rows; ++h) to_guests.row(g)[h] = fill(g, kBase + h);
    }
    lists = join(exact_neighbours(base, kDepth, one), to_base, to_guests);
    const std::size_t n = kBase + guest_rows;
    sims.assign(n, std::vector<double>(n));
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t d = 0; d < kDim; ++d) {
          sims[i][j] +=
              static_cast<double>(nodes.vector(i)[d]) * static_cast<double>(nodes.vector(j)[d]);
        }
      }
      sims[i][i] = 1;
    }
    for (const auto& row : sims) {
      std::vector<std::size_t> order(n);
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
      rank.push_back(order);
    }
    for (std::size_t i = 0; i < kBase; ++i) candidates.push_back(static_cast<NodeId>(i));
  }
  std::size_t size() const { return sims.size(); }

  Matrix base, guests;
  Nodes nodes;
  NeighbourLists lists;
  Dense sims;
  std::vector<std::vector<std::size_t>> rank;  // the node itself first
  std::vector<NodeId> candidates;
};

bool within(const Setting& s, std::size_t of, std::size_t node, std::size_t count) {
  const auto end = s.rank[of].begin() + static_cast<std::ptrdiff_t>(count);
  return std::find(s.rank[of].begin(), end, node) != end;
}

std::set<std::size_t> reciprocal(const Setting& s, std::size_t i, std::size_t k) {
  std::set<std::size_t> members;
  for (std::size_t j = 0; j < s.size(); ++j) {
    if (within(s, i, j, k + 1) && within(s, j, i, k + 1)) members.insert(j);
  }
  return members;
}

double normalised_distance(const Setting& s, std::size_t i, std::size_t j) {
  return (1 - s.sims[i][j]) / (1 - *std::min_element(s.sims[i].begin(), s.sims[i].end()));
}

Dense encodings(const Setting& s) {
  Dense v(s.size(), std::vector<double>(s.size()));
  for (std::size_t i = 0; i < s.size(); ++i) {
    const std::set<std::size_t> members = reciprocal(s, i, 20);
    std::set<std::size_t> all = members;
    for (const std::size_t m : members) {
      const std::set<std::size_t> more = reciprocal(s, m, 10);
      const auto common = std::count_if(more.begin(), more.end(),
                                        [&](std::size_t j) { return members.count(j) != 0; });
      if (static_cast<double>(common) > 2.0 / 3.0 * static_cast<double>(more.size())) {
        all.insert(more.begin(), more.end());
      }
    }
    double sum = 0;
    for (const std::size_t j : all) sum += v[i][j] = std::exp(-normalised_distance(s, i, j));
    for (double& weight : v[i]) weight /= sum;
  }
  Dense mean(s.size(), std::vector<double>(s.size()));
  for (std::size_t i = 0; i < s.size(); ++i) {
    for (std::size_t r = 0; r < 6; ++r) {
      for (std::size_t j = 0; j < s.size(); ++j) mean[i][j] += v[s.rank[i][r]][j] / 6;
    }
  }
  return mean;
}

TEST(NeighbourLists, AreTheNearestOfBaseAndGuests) {
  const Setting s(9);
  for (std::size_t i = 0; i < s.size(); ++i) {
    const auto ids = s.lists.ids_of(i, kDepth);
    ASSERT_EQ(ids.size(), kDepth);
    for (std::size_t r = 0; r < kDepth; ++r) EXPECT_EQ(ids[r], s.rank[i][r]) << i << " " << r;
    EXPECT_NEAR(s.lists.farthest[i], *std::min_element(s.sims[i].begin(), s.sims[i].end()), 1e-5);
  }
}

TEST(KReciprocal, IsThePapersDistance) {
  for (const std::size_t guests : {1U, 9U}) {
    const Setting s(guests);
    const Dense v = encodings(s);
    KReciprocal sparse(s.lists, s.nodes, {});
    for (std::size_t q = kBase; q < s.size(); ++q) {
      const auto scores = sparse.scores(static_cast<NodeId>(q), s.candidates);
      for (std::size_t c = 0; c < kBase; ++c) {
        double smaller = 0, larger = 0;
        for (std::size_t j = 0; j < s.size(); ++j) {
          smaller += std::min(v[q][j], v[c][j]);
          larger += std::max(v[q][j], v[c][j]);
        }
        const double expected = 0.7 * (1 - smaller / larger) + 0.3 * normalised_distance(s, q, c);
        EXPECT_NEAR(-scores[c], expected, 1e-5);
      }
    }
  }
}

Dense propagated(const Setting& s) {
  const std::size_t n = s.size();
  Dense a(n, std::vector<double>(n));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t r = 0; r < 26; ++r) a[i][s.rank[i][r]] = 1;
  }
  for (int step = 0; step < 2; ++step) {
    Dense next(n, std::vector<double>(n));
    for (std::size_t i = 0; i < n; ++i) {
      double squares = 0;
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t r = 0; r < 7; ++r) {
          const std::size_t m = s.rank[i][r];
          next[i][j] += s.sims[i][m] * s.sims[i][m] * (a[m][j] + a[j][m]);
        }
        squares += next[i][j] * next[i][j];
      }
      for (double& value : next[i]) value /= std::sqrt(squares);
    }
    a = next;
  }
  return a;
}

TEST(GnnReranking, IsThePapersTwoSteps) {
  for (const std::size_t guests : {1U, 9U}) {
    const Setting s(guests);
    const Dense a = propagated(s);
    const GnnReranking sparse(s.lists, {});
    for (std::size_t q = kBase; q < s.size(); ++q) {
      const auto scores = sparse.scores(static_cast<NodeId>(q), s.candidates);
      for (std::size_t c = 0; c < kBase; ++c) {
        const double expected = std::inner_product(a[q].begin(), a[q].end(), a[c].begin(), 0.0);
        EXPECT_NEAR(scores[c], expected, 1e-4);
      }
    }
  }
}

TEST(QueryExpansion, AddsTheNearestByTheirSimilarityCubed) {
  const Setting s(1);
  const auto scores = alpha_expansion(s.guests.row_span(0), s.base, s.candidates, {3, 10});
  std::vector<double> expanded(s.guests.row(0), s.guests.row(0) + kDim);
  for (std::size_t r = 1; r <= 10; ++r) {
    const std::size_t node = s.rank[kBase][r];
    const double weight = std::pow(s.sims[kBase][node], 3);
    for (std::size_t d = 0; d < kDim; ++d) {
      expanded[d] += weight * static_cast<double>(s.base.row(node)[d]);
    }
  }
  const double length =
      std::sqrt(std::inner_product(expanded.begin(), expanded.end(), expanded.begin(), 0.0));
  for (std::size_t c = 0; c < kBase; ++c) {
    double expected = 0;
    for (std::size_t d = 0; d < kDim; ++d) {
      expected += expanded[d] * static_cast<double>(s.base.row(c)[d]) / length;
    }
    EXPECT_NEAR(scores[c], expected, 1e-5);
  }
}

TEST(DatabaseAugmentation, WeighsNeighboursByRank) {
  const Executor one(1);
  const Matrix base = unit_clusters(kBase, 1);
  const NeighbourLists lists = exact_neighbours(base, kDepth, one);
  const Matrix augmented = augment_database(base, lists, 20, one);
  for (std::size_t i = 0; i < kBase; ++i) {
    std::vector<double> sum(kDim);
    for (std::size_t r = 0; r < 20; ++r) {
      for (std::size_t d = 0; d < kDim; ++d) {
        sum[d] += (1 - static_cast<double>(r) / 20) *
                  static_cast<double>(base.row(lists.ids_of(i, 20)[r])[d]);
      }
    }
    const double length = std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0));
    for (std::size_t d = 0; d < kDim; ++d) {
      EXPECT_NEAR(augmented.row(i)[d], sum[d] / length, 1e-5);
    }
  }
}

TEST(DatabaseAugmentation, WeighsNeighboursBySimilarityCubed) {
  const Executor one(1);
  const Setting s(1);
  const NeighbourLists lists = exact_neighbours(s.base, kDepth, one);
  const Matrix augmented = alpha_augment_database(s.base, lists, {3, 10}, one);
  for (std::size_t i = 0; i < kBase; ++i) {
    std::vector<double> sum(kDim);
    for (const NodeId j : lists.ids_of(i, 11)) {
      for (std::size_t d = 0; d < kDim; ++d) {
        sum[d] += std::pow(s.sims[i][j], 3) * static_cast<double>(s.base.row(j)[d]);
      }
    }
    const double length = std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0));
    for (std::size_t d = 0; d < kDim; ++d) {
      EXPECT_NEAR(augmented.row(i)[d], sum[d] / length, 1e-5);
    }
  }
}

TEST(NeighbourLists, AreAsDeepAsAFewVectorsAllow) {
  const Executor one(1);
  const Matrix base = unit_clusters(4, 1);
  const NeighbourLists lists = exact_neighbours(base, kDepth, one);
  EXPECT_EQ(lists.depth, 4U);
  const Nodes nodes{base, {}};
  const std::vector<NodeId> candidates = {0, 1, 2, 3};
  KReciprocal k_reciprocal(lists, nodes, {});
  EXPECT_EQ(k_reciprocal.scores(0, candidates).size(), 4U);
  EXPECT_EQ(GnnReranking(lists, {}).scores(0, candidates).size(), 4U);
}

}  // namespace
}  // namespace halo::bench
