#include "halo/index/detail/query_walk.h"

#include <algorithm>

#include "halo/core/error.h"
#include "halo/index/detail/metric_distance.h"

namespace halo::detail {

namespace {

// True where int8 codes of vectors that lose nothing give exact distances to this query too, by
// integers.
bool whole_query(const Int8Quantiser& quantiser, std::span<const float> query,
                 const RowScorer& score) {
  const auto* values = static_cast<const std::int16_t*>(score.query);
  bool whole = true;
  for (std::size_t i = 0; i < query.size(); ++i) {
    whole &= static_cast<float>(values[i]) + quantiser.offset[i] == query[i];
  }
  return whole;
}

// The same by floats, for every query.
RowScorer float_scorer(const VectorCodes& codes, std::span<const float> query,
                       const RowScorer& by_integers, QueryMemory& memory) {
  RowScorer score = by_integers;
  float* shifted = memory.shifted.resize(score.rows.width);
  std::fill(shifted, shifted + score.rows.width, 0.0F);
  for (std::size_t i = 0; i < query.size(); ++i) {
    shifted[i] = query[i] - codes.quantiser().offset[i];
  }
  score.kernel = kernels::l2_rows_int8_float();
  score.query = shifted;
  return score;
}

}  // namespace

RowScorer exact_scorer(const GraphSnapshot& snapshot, const float* stored, QueryMemory& memory) {
  const VectorCodes& rows = snapshot.has_vectors() ? snapshot.kept() : snapshot.codes();
  if (rows.kind() == CodeKind::kF32) {
    return f32_scorer(snapshot.metric(), snapshot.vectors(), stored);
  }
  const RowScorer score = code_scorer(snapshot.metric(), rows, snapshot.dim(), stored, memory.kept);
  const std::span<const float> query(stored, snapshot.dim());
  if (!rows.lossless() || whole_query(rows.quantiser(), query, score)) return score;
  return float_scorer(rows, query, score, memory);
}

RowScorer node_scorer(const GraphSnapshot& snapshot, Node node, QueryMemory& memory) {
  if (snapshot.stored() == CodeKind::kF32) {
    return f32_scorer(snapshot.metric(), snapshot.vectors(), snapshot.vectors().row(node));
  }
  const std::size_t width = padded_width(snapshot.dim());
  float* vector = memory.vector.resize(width);
  std::fill(vector, vector + width, 0.0F);
  snapshot.copy_vector(node, {vector, snapshot.dim()});
  return exact_scorer(snapshot, vector, memory);
}

PreparedQuery prepare_query(const GraphSnapshot& snapshot, std::span<const float> query,
                            bool exact_walk, QueryMemory& memory) {
  if (exact_walk && !snapshot.has_vectors()) {
    throw Error(ErrorCode::kNotPrepared, "this index keeps codes only, no vectors");
  }
  const std::size_t width = padded_width(snapshot.dim());
  float* stored = memory.vector.resize(width);
  store_vector(snapshot.metric(), query.data(), query.size(), "the query", stored);
  std::fill(stored + query.size(), stored + width, 0.0F);
  PreparedQuery prepared;
  prepared.exact = exact_scorer(snapshot, stored, memory);
  const VectorCodes& codes = snapshot.codes();
  if (codes.kind() == CodeKind::kF32 || exact_walk || !snapshot.has_vectors()) {
    prepared.walk = prepared.exact;
    return prepared;
  }
  const bool kept = codes.data() == snapshot.kept().data();
  if (kept && prepared.exact.kernel != kernels::l2_rows_int8_float()) {
    prepared.walk = prepared.exact;
    return prepared;
  }
  prepared.walk = code_scorer(snapshot.metric(), codes, snapshot.dim(), stored, memory.codes);
  prepared.coded = true;
  return prepared;
}

Node descend(const GraphSnapshot& snapshot, const RowScorer& score, std::vector<float>& distances) {
  Node current = snapshot.entry_point();
  if (snapshot.num_layers() == 1) return current;
  float nearest = score.one(current);
  for (std::size_t layer = snapshot.num_layers() - 1; layer > 0; --layer) {
    for (bool changed = true; changed;) {
      changed = false;
      const auto links = snapshot.neighbours(current, layer);
      if (distances.size() < links.size()) distances.resize(links.size());
      score(links.data(), links.size(), distances.data());
      for (std::size_t i = 0; i < links.size(); ++i) {
        if (distances[i] < nearest) {
          nearest = distances[i];
          current = links[i];
          changed = true;
        }
      }
    }
  }
  return current;
}

std::size_t rescore_count(const GraphSnapshot& snapshot, std::size_t k, std::size_t rescore) {
  if (rescore != 0) return std::max(rescore, k);
  return snapshot.codes().lossless() ? k : 2 * k + 16;
}

}  // namespace halo::detail
