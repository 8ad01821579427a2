#include "halo/gnn/query_refinement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "gnn/refinement_fixture.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/harm_gate.h"

namespace halo::gnn {
namespace {

using test::RefinementFixture;
using Nodes = std::vector<std::uint32_t>;
constexpr std::size_t kRows = RefinementFixture::kRows, kDim = RefinementFixture::kDim;

std::vector<double> z(const std::vector<double>& s, std::size_t count) {
  std::vector<double> sorted(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(count));
  std::sort(sorted.rbegin(), sorted.rend());
  const double zero = sorted[std::min<std::size_t>(100, count - 1)];
  std::vector<double> out;
  for (const double v : s) out.push_back(sorted[0] > zero ? (v - zero) / (sorted[0] - zero) : 0.0);
  return out;
}

double cosine_with_state(const RefinementHead& head, std::uint32_t node, const float* x) {
  std::vector<float> state(head.states.cols());
  head.states.copy_row(node, state.data());
  double sum = 0;
  for (std::size_t c = 0; c < state.size(); ++c) sum += double{x[c]} * state[c];
  return sum;
}

double share(const RefinementHead& head, std::uint32_t row, std::uint32_t entry) {
  const double root = head.structure.root_of(entry);
  return root * root * double{head.structure.share_of_square(row)};
}

// Refinement by its formulas, from the model's stored parts, without its code: node -> score.
std::map<std::uint32_t, double> reference(const RefinementModel& model, std::vector<float> query,
                                          const Nodes& candidates,
                                          const std::vector<float>& distances, double gate) {
  const RefinementParts& parts = model.parts();
  kernels::normalise(query.data(), kDim);
  struct View {
    std::vector<double> reach = std::vector<double>(kRows, 0.0);
    std::vector<float> state;
  };
  std::vector<View> views;
  std::vector<double> mass(kRows, 0.0);
  for (const RefinementHead& head : parts.heads) {
    View view;
    view.state.resize(head.projection.out_dim());
    head.projection.apply(MatrixView(query.data(), 1, kDim),
                          MatrixSpan(view.state.data(), 1, view.state.size()), Executor(1));
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      order.emplace_back(-cosine_with_state(head, candidates[i], view.state.data()), i);
    }
    std::sort(order.begin(), order.end());
    const std::size_t steps = std::min(parts.options.structure.window, order.size());
    std::vector<double> weights;
    double sum = 0;
    for (std::size_t i = 0; i < steps; ++i) {
      const double s = -order[i].first, best = -order[0].first, last = -order[steps - 1].first;
      double w =
          std::exp(parts.options.structure.sharpness * (s - best) / std::max(best - last, 1e-4));
      if (s < head.threshold(candidates[order[i].second])) w *= parts.options.structure.one_sided;
      weights.push_back(w);
      sum += w;
    }
    for (std::size_t i = 0; i < steps; ++i) {
      const auto node = candidates[order[i].second];
      for (const auto entry : head.structure.row(node)) {
        view.reach[head.structure.node_of(entry)] += weights[i] / sum * share(head, node, entry);
      }
    }
    for (std::size_t n = 0; n < kRows; ++n) mass[n] += head.weight * view.reach[n];

    const std::size_t width = std::min(parts.options.window, order.size());
    Matrix window(width, view.state.size()), global(parts.global_nodes.size(), view.state.size());
    for (std::size_t i = 0; i < width; ++i) {
      head.states.copy_row(candidates[order[i].second], window.row(i));
    }
    for (std::size_t i = 0; i < global.rows(); ++i) {
      head.states.copy_row(parts.global_nodes[i], global.row(i));
    }
    std::vector<float> message(view.state.size());
    ContentLayer(parts.options.layer).forward_row(view.state, window, global, message);
    views.push_back(std::move(view));
  }

  Nodes nodes = candidates, others;
  const std::set<std::uint32_t> listed(candidates.begin(), candidates.end());
  for (std::uint32_t n = 0; n < kRows; ++n) {
    if (mass[n] > 0 && !listed.contains(n)) others.push_back(n);
  }
  std::stable_sort(others.begin(), others.end(), [&](auto a, auto b) { return mass[a] > mass[b]; });
  others.resize(std::min(others.size(), candidates.size() / 2));
  nodes.insert(nodes.end(), others.begin(), others.end());

  std::vector<double> plain, total(nodes.size(), 0.0);
  for (const float d : distances) plain.push_back(-double{d});
  plain = z(plain, plain.size());
  for (std::size_t i = 0; i < plain.size(); ++i)
    total[i] = 1.5 * std::pow(std::max(plain[i], 0.0), 4);
  for (std::size_t h = 0; h < views.size(); ++h) {
    const RefinementHead& head = parts.heads[h];
    std::vector<double> structure, content;
    for (const auto node : nodes) {
      double sum = 0;
      for (const auto entry : head.structure.row(node)) {
        sum += std::sqrt(double{share(head, node, entry)} *
                         views[h].reach[head.structure.node_of(entry)]);
      }
      structure.push_back(sum);
      content.push_back(cosine_with_state(head, node, views[h].state.data()));
    }
    const double best = *std::max_element(structure.begin(), structure.end());
    content = z(content, candidates.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      total[i] +=
          gate * head.weight *
          ((1.0 - head.content_share) * structure[i] / best + head.content_share * content[i]);
    }
  }
  std::map<std::uint32_t, double> scores;
  for (std::size_t i = 0; i < nodes.size(); ++i) scores[nodes[i]] = total[i];
  return scores;
}

TEST(QueryRefinement, FollowsTheFormulas) {
  for (const float global_gate : {0.0F, 0.3F}) {
    RefinementFixture f(global_gate);
    const auto model = RefinementModel::create(std::move(f.parts));
    const Matrix queries = test::clustered_matrix(8, kDim, 4, 0.4F, 77);
    QueryScratch scratch;
    for (const std::size_t count : {1U, 2U, 60U, 200U}) {
      for (const double gate : {0.4, 1.0}) {
        for (std::size_t q = 0; q < 8; ++q) {
          std::vector<float> query(queries.row(q), queries.row(q) + kDim);
          kernels::normalise(query.data(), kDim);
          const Nodes candidates = f.nearest(query.data(), count);
          const auto distances = f.distances(query.data(), candidates);
          const auto expected = reference(*model, query, candidates, distances, gate);
          for (float& v : query) v *= 3.0F;  // cosine does not see the query's length
          std::vector<ScoredNode> scored;
          refine_query(*model, query, candidates, distances, label_free_weights(*model, gate), {},
                       scratch, scored);
          ASSERT_EQ(scored.size(), expected.size());
          std::size_t others = 0;
          for (std::size_t i = 0; i < scored.size(); ++i) {
            EXPECT_TRUE(i >= count || scored[i].node == candidates[i]) << "candidates come first";
            const auto match = expected.find(scored[i].node);
            if (match == expected.end()) {
              ++others;  // equally reached nodes at the end of the list, but for rounding
              continue;
            }
            EXPECT_NEAR(scored[i].score, match->second, 0.02);
          }
          EXPECT_LE(others, 1 + scored.size() / 50);
        }
      }
    }
  }
}

TEST(QueryRefinement, AClosedGateKeepsThePlainOrderAndAddsNothing) {
  RefinementFixture f;
  const auto model = RefinementModel::create(std::move(f.parts));
  const Nodes candidates = f.nearest(f.vectors.row(9), 100);
  QueryScratch scratch;
  std::vector<ScoredNode> scored;
  refine_query(*model, f.vectors.row_span(9), candidates, f.distances(f.vectors.row(9), candidates),
               label_free_weights(*model, 0.0), {}, scratch, scored);
  ASSERT_EQ(scored.size(), 100U);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(scored[i].node, candidates[i]);
  EXPECT_TRUE(std::is_sorted(scored.begin(), scored.end(),
                             [](const auto& a, const auto& b) { return a.score > b.score; }));
  refine_query(*model, f.vectors.row_span(9), {}, {}, label_free_weights(*model, 1.0), {}, scratch,
               scored);
  EXPECT_TRUE(scored.empty());
}

// The weighted sum of the terms by themselves is the score, hub and plain included.
TEST(QueryRefinement, TermsAddUpToTheScore) {
  RefinementFixture f;
  const auto model = RefinementModel::create(std::move(f.parts));
  std::vector<float> weights = label_free_weights(*model, 0.7);
  ASSERT_EQ(weights.size(), num_terms(2));
  EXPECT_NEAR(weights[head_term(0, HeadTerm::kStructure)], 0.7F * 0.4F * 0.5F, 1e-6);
  weights[head_term(1, HeadTerm::kContent)] = 0.3F;
  weights[head_term(0, HeadTerm::kHub)] = 0.2F;
  weights[plain_term(2)] = 0.9F;
  QueryScratch scratch;
  QueryTerms terms;
  std::vector<ScoredNode> scored;
  for (const std::size_t row : {4U, 90U, 201U}) {
    const Nodes candidates = f.nearest(f.vectors.row(row), 60);
    const auto distances = f.distances(f.vectors.row(row), candidates);
    query_terms(*model, f.vectors.row_span(row), candidates, distances, {}, scratch, terms);
    refine_query(*model, f.vectors.row_span(row), candidates, distances, weights, {}, scratch,
                 scored);
    ASSERT_EQ(terms.nodes.size(), scored.size());
    for (std::size_t i = 0; i < scored.size(); ++i) {
      EXPECT_EQ(terms.nodes[i], scored[i].node);
      float sum = 0;
      for (std::size_t t = 0; t < weights.size(); ++t) sum += weights[t] * terms.values.row(t)[i];
      EXPECT_NEAR(sum, scored[i].score, 1e-5);
    }
    for (const std::size_t head : {0U, 1U}) {
      const float* hub = terms.values.row(head_term(head, HeadTerm::kHub));
      for (std::size_t i = 1; i < scored.size(); ++i) {
        const auto& of = model->parts().heads[head];
        EXPECT_EQ(hub[i] > hub[0], of.threshold(terms.nodes[i]) < of.threshold(terms.nodes[0]));
      }
    }
  }
  query_terms(*model, f.vectors.row_span(9), {}, {}, {}, scratch, terms);
  EXPECT_TRUE(terms.nodes.empty());
}

// `out`: the fixture's vector `row` as a query over its nearest `count`.
void refine_row(const RefinementFixture& f, const RefinementModel& model, std::size_t row,
                std::size_t count, double gate, const NodeFilter& allowed, QueryScratch& scratch,
                std::vector<ScoredNode>& out) {
  const Nodes candidates = f.nearest(f.vectors.row(row), count);
  refine_query(model, f.vectors.row_span(row), candidates,
               f.distances(f.vectors.row(row), candidates), label_free_weights(model, gate),
               allowed, scratch, out);
}

TEST(QueryRefinement, TheFirstPlacesCanBeHeld) {
  RefinementFixture f;
  const auto model = RefinementModel::create(std::move(f.parts));
  QueryScratch scratch;
  std::vector<ScoredNode> scored;
  std::size_t moved = 0;
  for (std::size_t i = 0; i < kRows; i += 9) {
    for (const std::size_t count : {3U, 10U, 60U}) {
      refine_row(f, *model, i, count, kUnmeasuredGate, {}, scratch, scored);
      hold_first(scored);
      Nodes order(scored.size());
      std::iota(order.begin(), order.end(), 0U);
      std::stable_sort(order.begin(), order.end(),
                       [&](auto a, auto b) { return scored[a].score > scored[b].score; });
      for (std::size_t r = 0; r < std::min(count, kHeld); ++r) EXPECT_EQ(order[r], r);
      moved += std::is_sorted(order.begin(), order.end()) ? 0 : 1;
    }
  }
  EXPECT_GT(moved, 10U) << "the graph orders the rest";
}

TEST(QueryRefinement, OnlyAllowedNodesJoinAndNoneTwice) {
  RefinementFixture f;
  const auto model = RefinementModel::create(std::move(f.parts));
  QueryScratch scratch;
  std::vector<ScoredNode> scored;
  std::size_t joined = 0;
  for (std::size_t i = 0; i < kRows; i += 7) {
    const auto even = [](std::uint32_t node) { return node % 2 == 0; };
    refine_row(f, *model, i, 12, 1.0, even, scratch, scored);
    std::set<std::uint32_t> seen;
    for (const ScoredNode& s : scored) EXPECT_TRUE(seen.insert(s.node).second);
    EXPECT_LE(scored.size(), 18U);
    for (std::size_t j = 12; j < scored.size(); ++j, ++joined) EXPECT_EQ(scored[j].node % 2, 0U);
  }
  EXPECT_GT(joined, 50U);
}

TEST(QueryRefinement, AScratchServesQueriesAndModelsInAnyOrder) {
  RefinementFixture f, g(0.3F);
  const auto first = RefinementModel::create(std::move(f.parts)),
             second = RefinementModel::create(std::move(g.parts));
  const auto run = [&](const RefinementModel& model, std::size_t row, QueryScratch& scratch) {
    std::vector<ScoredNode> scored;
    refine_row(f, model, row, 40, 1.0, {}, scratch, scored);
    return scored;
  };
  QueryScratch shared;
  shared.query_number = 0xfffffffeU;  // the counter of marks comes round
  for (std::size_t row = 0; row < 20; ++row) {
    for (const auto& model : {first, second}) {
      QueryScratch fresh;
      const auto a = run(*model, row, shared), b = run(*model, row, fresh);
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].node, b[i].node);
        EXPECT_EQ(a[i].score, b[i].score);
      }
    }
  }
}

}  // namespace
}  // namespace halo::gnn
