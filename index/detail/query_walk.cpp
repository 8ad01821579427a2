#include "halo/index/detail/query_walk.h"

#include <algorithm>

#include "halo/index/detail/metric_distance.h"

namespace halo::detail {

PreparedQuery prepare_query(const GraphSnapshot& snapshot, std::span<const float> query,
                            bool exact_walk, QueryMemory& memory) {
  const std::size_t width = padded_width(snapshot.dim());
  float* stored = memory.vector.resize(width);
  store_vector(snapshot.metric(), query.data(), query.size(), "the query", stored);
  std::fill(stored + query.size(), stored + width, 0.0F);
  PreparedQuery prepared;
  const bool on_codes = snapshot.codes().kind() != CodeKind::kF32 && !exact_walk;
  if (on_codes) {
    prepared.walk =
        code_scorer(snapshot.metric(), snapshot.codes(), snapshot.dim(), stored, memory.codes);
  }
  prepared.coded = on_codes && snapshot.has_vectors();
  if (prepared.coded || !on_codes) {
    prepared.exact = f32_scorer(snapshot.metric(), snapshot.vectors(), stored);
    if (!on_codes) prepared.walk = prepared.exact;
  } else {
    prepared.exact = prepared.walk;
  }
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
