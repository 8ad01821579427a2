#include "halo/gnn/query_refinement.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "halo/core/kernels/code_distance.h"
#include "halo/core/kernels/sparse_rows.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/z_scale.h"

namespace halo::gnn {
namespace {

constexpr float kRootSteps = 255.0F;
constexpr float kSmallestScore = 1e-9F;
constexpr std::size_t kAttentionSteps = 1;
constexpr std::size_t kRowsAhead = 12;  // rows lie anywhere in memory: ask for them early

// out[i] = <x, state of nodes[i]>, x of unit length rounded to 16 bits.
void state_similarities(std::span<const float> x, const ByteMatrix& states,
                        std::span<const std::uint32_t> nodes, QueryScratch& scratch,
                        std::vector<float>& out) {
  const std::size_t width = states.stride();
  const std::int16_t limit = kernels::dot_query_limit(width);
  const float step = 1.0F / static_cast<float>(limit);
  scratch.codes.assign(width, 0);
  scratch.message.assign(x.size(), 0.0F);
  kernels::quantise_int16(x.data(), scratch.message.data(), static_cast<float>(limit), limit,
                          x.size(), scratch.codes.data());
  out.resize(nodes.size());
  kernels::CodeRows rows;
  rows.base = reinterpret_cast<const std::byte*>(states.data());
  rows.stride = rows.width = width;
  rows.prefetch_ahead = kRowsAhead;
  kernels::dot_rows_int8()(rows, scratch.codes.data(), nodes.data(), nodes.size(), step, 0.0F,
                           out.data());
  for (std::size_t i = 0; i < nodes.size(); ++i) out[i] *= states.scale(nodes[i]);
}

// scratch.window, scratch.order: the `width` nodes with the greatest similarity, best first (equal:
// nearer candidate first), and their places.
void select_window(std::span<const std::uint32_t> candidates, std::size_t width,
                   QueryScratch& scratch) {
  auto& order = scratch.order;
  order.resize(candidates.size());
  std::iota(order.begin(), order.end(), 0U);
  const std::size_t kept = std::min(width, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](auto a, auto b) {
                      const float x = scratch.similarities[a], y = scratch.similarities[b];
                      return x != y ? x > y : a < b;
                    });
  order.resize(kept);
  scratch.window.clear();
  for (const auto place : order) scratch.window.push_back(candidates[place]);
}

void gather(const ByteMatrix& states, std::span<const std::uint32_t> nodes, Matrix& out) {
  if (out.rows() != nodes.size() || out.cols() != states.cols()) {
    out = Matrix::padded(nodes.size(), states.cols());
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) states.copy_row(nodes[i], out.row(i));
}

// view.state <- the query after attending to the states of its window.
void attend(const RefinementModel& model, const RefinementHead& head, QueryScratch& scratch,
            QueryScratch::View& view) {
  const RefineOptions& options = model.parts().options;
  const auto window =
      std::span(scratch.window).first(std::min(options.window, scratch.window.size()));
  gather(head.states, window, scratch.window_states);
  if (options.layer.global_gate != 0.0F) {
    gather(head.states, model.parts().global_nodes, scratch.global_states);
  }
  const ContentLayer layer(options.layer);
  scratch.message.resize(view.state.size());
  for (std::size_t t = 0; t < kAttentionSteps; ++t) {
    layer.forward_row(view.state, scratch.window_states, scratch.global_states, scratch.message);
  }
}

void prefetch_row(const StructureRows& rows, std::uint32_t node) {
  constexpr std::size_t kEntriesALine = 64 / sizeof(std::uint32_t);
  for (std::size_t e = 0; e < rows.kept(); e += kEntriesALine) {
    __builtin_prefetch(rows.row(node).data() + e);
  }
}

// view.reach: the window's rows of the structure, weighted by the query's attention.
void walk(const RefinementModel& model, const RefinementHead& head, QueryScratch& scratch,
          QueryScratch::View& view) {
  const StructureOptions& options = model.parts().options.structure;
  const std::size_t count = std::min(options.window, scratch.window.size());
  for (std::size_t i = 0; i < count; ++i) prefetch_row(head.structure, scratch.window[i]);
  auto& weights = scratch.content;
  weights.clear();
  scratch.mutual.clear();
  for (std::size_t i = 0; i < count; ++i) {
    weights.push_back(scratch.similarities[scratch.order[i]]);
    scratch.mutual.push_back(weights[i] >= head.threshold(scratch.window[i]) ? 1 : 0);
  }
  structure_weights(weights, scratch.mutual, options);
  view.reach.resize(model.size(), 0.0F);
  view.ends.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t node = scratch.window[i];
    const float scale = weights[i] * head.structure.share_of_square(node);
    for (const std::uint32_t entry : head.structure.row(node)) {
      const auto root = static_cast<float>(head.structure.root_of(entry));
      const float share = scale * root * root;
      if (share <= 0.0F) continue;
      const std::uint32_t end = head.structure.node_of(entry);
      if (view.reach[end] == 0.0F) view.ends.push_back(end);
      view.reach[end] += share;
    }
  }
}

// Appends to scratch.nodes the nodes reached most that are not yet in it.
void join(const RefinementModel& model, std::size_t most, const NodeFilter& allowed,
          QueryScratch& scratch) {
  scratch.seen.resize(model.size(), 0);
  if (++scratch.query_number == 0) {  // the counter came round: forget every mark
    std::fill(scratch.seen.begin(), scratch.seen.end(), 0U);
    scratch.query_number = 1;
  }
  for (const auto node : scratch.nodes) scratch.seen[node] = scratch.query_number;
  const auto& heads = model.parts().heads;
  auto& found = scratch.order;
  found.clear();
  for (const auto& view : scratch.views) {
    for (const auto node : view.ends) {
      if (std::exchange(scratch.seen[node], scratch.query_number) == scratch.query_number) continue;
      if (!allowed || allowed(node)) found.push_back(node);
    }
  }
  const auto reached = [&](std::uint32_t node) {
    float sum = 0.0F;
    for (std::size_t h = 0; h < heads.size(); ++h) {
      sum += heads[h].weight * scratch.views[h].reach[node];
    }
    return sum;
  };
  auto& mass = scratch.content;
  mass.clear();
  for (const auto node : found) mass.push_back(reached(node));
  auto& place = scratch.window;
  place.resize(found.size());
  std::iota(place.begin(), place.end(), 0U);
  const auto kept = static_cast<std::ptrdiff_t>(std::min(most, place.size()));
  const auto more = [&](std::uint32_t a, std::uint32_t b) {
    return mass[a] != mass[b] ? mass[a] > mass[b] : found[a] < found[b];
  };
  if (std::cmp_less(kept, place.size())) {
    std::nth_element(place.begin(), place.begin() + kept, place.end(), more);
    place.resize(static_cast<std::size_t>(kept));
  }
  std::sort(place.begin(), place.end(), more);
  for (const auto i : place) scratch.nodes.push_back(found[i]);
}

// Nodes that have no walk yet (the index has grown) are judged by their raw vectors: z(plain), at
// most 1 as affinity is, instead of affinity.
void judge_raw(const RefinementModel& model, std::span<const float> distances,
               QueryScratch& scratch) {
  auto& plain = scratch.content;
  plain.assign(distances.begin(), distances.end());
  for (float& s : plain) s = -s;
  const ZScale z = z_scale(plain, scratch.sorted);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (model.is_raw(scratch.nodes[i])) {
      scratch.structure[i] = std::clamp(z(plain[i]), 0.0F, 1.0F);
    }
  }
}

// scratch.structure: the affinity of every node's walks with the query's, the greatest 1. Takes
// view.reach back to zeros.
void score_structure(const RefinementHead& head, QueryScratch& scratch, QueryScratch::View& view) {
  // Square roots as bytes, as the rows hold them: the table that every entry looks into stays
  // small.
  scratch.roots.resize(view.reach.size() + kernels::kDensePadding, 0);
  float most = 0.0F;
  for (const auto node : view.ends) most = std::max(most, view.reach[node]);
  const float steps = most > 0.0F ? kRootSteps / std::sqrt(most) : 0.0F;
  for (const auto node : view.ends) {
    scratch.roots[node] = static_cast<std::uint8_t>(std::sqrt(view.reach[node]) * steps + 0.5F);
  }
  const StructureRows& rows = head.structure;
  const auto& nodes = scratch.nodes;
  scratch.structure.resize(nodes.size());
  kernels::unit_dot_rows({rows.data(), rows.kept(), rows.root_bits()}, nodes.data(), nodes.size(),
                         scratch.roots.data(), scratch.structure.data());
  float greatest = 0.0F;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    greatest = std::max(greatest, scratch.structure[i]);
  }
  const float inverse = 1.0F / std::max(greatest, kSmallestScore);
  for (float& s : scratch.structure) s *= inverse;
  for (const auto node : view.ends) {
    view.reach[node] = 0.0F;
    scratch.roots[node] = 0;
  }
}

// What a term is worth to whoever asks for it: `wants(term)`, `take(term, values)` with one value a
// node of scratch.nodes, or one a candidate where a term says nothing about the others.

// The sum of terms, weighted.
struct WeightedSum {
  std::span<const float> weights;
  std::vector<ScoredNode>& out;

  bool wants(std::size_t term) const { return weights[term] != 0.0F; }
  void start(std::span<const std::uint32_t> nodes) {
    for (const auto node : nodes) out.push_back({node, 0.0F});
  }
  void take(std::size_t term, std::span<const float> values) {
    for (std::size_t i = 0; i < values.size(); ++i) out[i].score += weights[term] * values[i];
  }
};

// Every term by itself.
struct EveryTerm {
  QueryTerms& out;

  static bool wants(std::size_t /*term*/) { return true; }
  void start(std::span<const std::uint32_t> nodes) {
    out.nodes.assign(nodes.begin(), nodes.end());
    out.values = Matrix(out.values.rows(), nodes.size());
  }
  void take(std::size_t term, std::span<const float> values) {
    std::copy(values.begin(), values.end(), out.values.row(term));
  }
};

template <class Taker>
void take_plain(std::size_t heads, std::span<const float> distances, QueryScratch& scratch,
                Taker& taker) {
  auto& plain = scratch.content;
  plain.assign(distances.begin(), distances.end());
  for (float& s : plain) s = -s;
  const ZScale z = z_scale(plain, scratch.sorted);
  for (float& s : plain) s = std::max(z(s), 0.0F);
  if (taker.wants(plain_term(heads))) taker.take(plain_term(heads), plain);
  for (float& s : plain) s = s * s * s * s;
  if (taker.wants(anchor_term(heads))) taker.take(anchor_term(heads), plain);
}

// Each head's window, walk and state; scratch.nodes: the candidates, and those that join.
template <class Taker>
void attend_heads(const RefinementModel& model, std::span<const float> query,
                  std::span<const std::uint32_t> candidates, const NodeFilter& allowed,
                  QueryScratch& scratch, const Taker& taker) {
  const RefinementParts& parts = model.parts();
  scratch.query.assign(query.begin(), query.end());
  if (parts.unit_input) kernels::normalise(scratch.query.data(), query.size());
  scratch.views.resize(parts.heads.size());
  const std::size_t width = std::max(parts.options.window, parts.options.structure.window);
  for (std::size_t h = 0; h < parts.heads.size(); ++h) {
    const RefinementHead& head = parts.heads[h];
    QueryScratch::View& view = scratch.views[h];
    view.state.resize(head.projection.out_dim());
    scratch.projected.resize(query.size());
    head.projection.apply(scratch.query.data(), view.state.data(), scratch.projected.data());
    state_similarities(view.state, head.states, candidates, scratch, scratch.similarities);
    select_window(candidates, width, scratch);
    walk(model, head, scratch, view);
    if (taker.wants(head_term(h, HeadTerm::kContent)) ||
        taker.wants(head_term(h, HeadTerm::kHub))) {
      attend(model, head, scratch, view);
    }
  }
  scratch.nodes.assign(candidates.begin(), candidates.end());
  join(model, candidates.size() / 2, allowed, scratch);
}

template <class Taker>
void take_heads(const RefinementModel& model, std::size_t candidates,
                std::span<const float> distances, QueryScratch& scratch, Taker& taker) {
  const auto& heads = model.parts().heads;
  for (std::size_t h = 0; h < heads.size(); ++h) {
    const RefinementHead& head = heads[h];
    score_structure(head, scratch, scratch.views[h]);
    if (model.has_raw()) judge_raw(model, distances, scratch);
    if (taker.wants(head_term(h, HeadTerm::kStructure))) {
      taker.take(head_term(h, HeadTerm::kStructure), scratch.structure);
    }
    const bool content = taker.wants(head_term(h, HeadTerm::kContent));
    const bool hub = taker.wants(head_term(h, HeadTerm::kHub));
    if (!content && !hub) continue;
    state_similarities(scratch.views[h].state, head.states, scratch.nodes, scratch,
                       scratch.content);
    const ZScale z = z_scale(std::span(scratch.content).first(candidates), scratch.sorted);
    if (content) {
      for (float& s : scratch.content) s = z(s);
      taker.take(head_term(h, HeadTerm::kContent), scratch.content);
    }
    if (!hub) continue;
    for (std::size_t i = 0; i < scratch.nodes.size(); ++i) {
      scratch.content[i] = -z.inverse_span * head.threshold(scratch.nodes[i]);
    }
    taker.take(head_term(h, HeadTerm::kHub), scratch.content);
  }
}

}  // namespace

void refine_query(const RefinementModel& model, std::span<const float> query,
                  std::span<const std::uint32_t> candidates, std::span<const float> distances,
                  std::span<const float> weights, const NodeFilter& allowed, QueryScratch& scratch,
                  std::vector<ScoredNode>& out) {
  out.clear();
  if (candidates.empty()) return;
  WeightedSum sum{weights, out};
  const std::size_t heads = model.parts().heads.size();
  const auto of_heads = weights.first(plain_term(heads));
  if (std::all_of(of_heads.begin(), of_heads.end(), [](float w) { return w == 0.0F; })) {
    sum.start(candidates);
  } else {
    attend_heads(model, query, candidates, allowed, scratch, sum);
    sum.start(scratch.nodes);
    take_heads(model, candidates.size(), distances, scratch, sum);
  }
  take_plain(heads, distances, scratch, sum);
}

void query_terms(const RefinementModel& model, std::span<const float> query,
                 std::span<const std::uint32_t> candidates, std::span<const float> distances,
                 const NodeFilter& allowed, QueryScratch& scratch, QueryTerms& out) {
  const std::size_t heads = model.parts().heads.size();
  out.nodes.clear();
  out.values = Matrix(num_terms(heads), 0);
  if (candidates.empty()) return;
  EveryTerm every{out};
  attend_heads(model, query, candidates, allowed, scratch, every);
  every.start(scratch.nodes);
  take_heads(model, candidates.size(), distances, scratch, every);
  take_plain(heads, distances, scratch, every);
}

void hold_first(std::vector<ScoredNode>& scored) {
  const std::size_t held = std::min(kHeld, scored.size());
  float least = 0.0F;
  for (std::size_t i = held; i < scored.size(); ++i) least = std::max(least, scored[i].score);
  for (std::size_t i = held; i-- > 0;) scored[i].score = least = std::max(scored[i].score, least);
}

}  // namespace halo::gnn
