// Answers one query with a refinement model: scores its candidates, and finds further ones that the
// graph leads to.
//
// Each head projects the query, takes the candidates whose states are most similar as the query's
// window, and scores every candidate by
//   structure  the affinity of the walks that start from the query's window and from the candidate
//   content    the cosine of the query's state, after attending to its window, with the candidate's
// The refined score is their weighted mean over the heads; the plain score, to the fourth power,
// anchors the top ranks, where smoothing has least to win.
//
// Nodes where the query's walks end that were no candidates join them: half as many as the
// candidates, those reached most. So refinement also finds what belongs to the query but lies
// further away than the candidates do.
//
// Thread-safe: pure, each thread with its own scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/gnn/refinement_model.h"

namespace halo::gnn {

struct ScoredNode {
  std::uint32_t node = 0;
  float score = 0;  ///< larger is better
};

/// Reusable memory of one thread: about 4 bytes x (heads + 1) + 1 a base vector.
struct QueryScratch {
  /// What one head makes of the query.
  struct View {
    std::vector<float> state;         // after attention
    std::vector<float> reach;         // dense, by node: where the walks from the window end
    std::vector<std::uint32_t> ends;  // the nodes with reach above 0
  };
  std::vector<View> views;
  std::vector<float> query, projected, message, sorted, similarities, structure, content;
  std::vector<std::int16_t> codes;
  std::vector<std::uint8_t> roots;  // dense, by node: zeros between queries
  std::vector<std::uint32_t> order, window, nodes;
  std::vector<std::uint8_t> mutual;
  std::vector<std::uint32_t> seen;  // by node: the last query that listed it
  std::uint32_t query_number = 0;
  Matrix window_states, global_states;
};

/// Which nodes may join the candidates; null allows all.
using NodeFilter = std::function<bool(std::uint32_t)>;

/// f = sum_terms weight term, the terms and weights of fusion.h: label-free, gate sum_heads weight
/// ((1 - c) structure / max structure + c z(content)) + 1.5 max(z(plain), 0)^4 with c the head's
/// content share, z(s) = (s - s_101st) / (s_1st - s_101st) over the candidates, plain = -distance.
///
/// `query` [dim], `candidates` nearest first with their `distances`, `weights`
/// [num_terms(heads)]; where no term of a head counts, this is the plain order without further
/// nodes. `out`: the candidates in their order, then the nodes that joined, those reached most
/// first. O(heads (dim out_dim + candidates (out_dim + kept) + window kept)).
void refine_query(const RefinementModel& model, std::span<const float> query,
                  std::span<const std::uint32_t> candidates, std::span<const float> distances,
                  std::span<const float> weights, const NodeFilter& allowed, QueryScratch& scratch,
                  std::vector<ScoredNode>& out);

/// Leaves the first kHeld candidates (harm_gate.h) at the top, in their order: none of the others
/// scores more, and equal scores are in the order of `scored`, which refine_query() put out.
void hold_first(std::vector<ScoredNode>& scored);

/// Every term by itself: what weights are learned from.
struct QueryTerms {
  std::vector<std::uint32_t> nodes;  ///< as refine_query() puts them out
  Matrix values;                     ///< [num_terms(heads), nodes]
};
void query_terms(const RefinementModel& model, std::span<const float> query,
                 std::span<const std::uint32_t> candidates, std::span<const float> distances,
                 const NodeFilter& allowed, QueryScratch& scratch, QueryTerms& out);

}  // namespace halo::gnn
