// What the tests of live indexes compare with: a map from ids to vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "halo/core/random.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/live_index.h"
#include "index/index_fixtures.h"

namespace halo::test {

/// Nothing seals but seal().
inline LiveOptions live_options(Metric metric = Metric::kL2) {
  LiveOptions options;
  options.build = build_options(metric);
  options.scanned_tail = 16;
  options.background = false;
  return options;
}

inline Matrix rows_of(const std::vector<std::vector<float>>& vectors, std::size_t dim) {
  Matrix rows = Matrix::padded(vectors.size(), dim);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    std::copy(vectors[i].begin(), vectors[i].end(), rows.row(i));
  }
  return rows;
}

class LiveModel {
 public:
  LiveModel(Metric metric, std::size_t dim) : metric_(metric), dim_(dim) {}

  void put(const MatrixView& vectors, std::span<const Id> ids) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::vector<float> stored(dim_);
      detail::store_row(metric_, vectors.row(i), dim_, "vector", i, stored.data());
      vectors_[ids[i]] = std::move(stored);
    }
  }
  void remove(std::span<const Id> ids) {
    for (const Id id : ids) vectors_.erase(id);
  }
  const std::map<Id, std::vector<float>>& vectors() const { return vectors_; }
  std::size_t size() const { return vectors_.size(); }

  std::vector<LiveNeighbour> nearest(std::span<const float> query, std::size_t k) const {
    std::vector<float> stored(dim_);
    detail::store_vector(metric_, query.data(), dim_, "the query", stored.data());
    const detail::MetricDistance distance(metric_, dim_);
    std::vector<LiveNeighbour> all;
    for (const auto& [id, vector] : vectors_) {
      all.push_back({distance(stored.data(), vector.data()), id});
    }
    std::sort(all.begin(), all.end(), [](const LiveNeighbour& a, const LiveNeighbour& b) {
      return std::pair(a.distance, a.id) < std::pair(b.distance, b.id);
    });
    all.resize(std::min(k, all.size()));
    return all;
  }

 private:
  Metric metric_;
  std::size_t dim_;
  std::map<Id, std::vector<float>> vectors_;
};

inline std::vector<LiveNeighbour> live_search(const LiveView& view, std::span<const float> query,
                                              const LiveSearchOptions& options,
                                              bool exact = false) {
  LiveScratch scratch;
  std::vector<LiveNeighbour> out(options.k);
  out.resize(exact ? view.exact_search(query, options, scratch, out)
                   : view.search(query, options, scratch, out));
  return out;
}

/// Of all that can be seen of a live index whose ids are below `ids`: what lives, and what searches
/// for some of it answer.
inline std::uint64_t state_hash(const LiveIndex& index, Id ids) {
  const LiveView view = index.view();
  StateHash hash;
  hash.add(view.size());
  std::vector<float> query;
  for (Id id = 0; id < ids; ++id) {
    const auto vector = view.vector(id);
    hash.add(vector.has_value());
    if (!vector) continue;
    hash.bytes(vector->data(), vector->size() * sizeof(float));
    if (id % 7 == 0) query.assign(vector->begin(), vector->end());
    if (id % 7 != 1 || query.empty()) continue;
    for (const LiveNeighbour& n : live_search(view, query, {4, 16, {}})) {
      hash.add(n.id);
      hash.add(n.distance);
    }
  }
  return hash.value();
}

/// Expects that `view` holds exactly what `model` holds, and answers like it.
inline void expect_same(const LiveView& view, const LiveModel& model, const MatrixView& queries) {
  ASSERT_EQ(view.size(), model.size());
  for (const auto& [id, vector] : model.vectors()) {
    const auto stored = view.vector(id);
    ASSERT_TRUE(stored.has_value()) << id;
    for (std::size_t i = 0; i < vector.size(); ++i) {
      // Sealing normalises what is normalised.
      ASSERT_NEAR(vector[i], (*stored)[i], 1e-6 * (1 + std::abs(vector[i])));
    }
  }
  LiveSearchOptions options;
  options.k = 8;
  options.ef = 60;
  std::size_t hits = 0, wanted = 0;
  for (std::size_t q = 0; q < queries.rows; ++q) {
    const auto truth = model.nearest(queries.row_span(q), options.k);
    const auto exact = live_search(view, queries.row_span(q), options, true);
    ASSERT_EQ(exact.size(), truth.size());
    for (std::size_t i = 0; i < truth.size(); ++i) {
      ASSERT_NEAR(exact[i].distance, truth[i].distance, 1e-4 * (1 + std::abs(truth[i].distance)));
    }
    const auto found = live_search(view, queries.row_span(q), options);
    ASSERT_EQ(found.size(), truth.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_TRUE(model.vectors().contains(found[i].id));
      if (i > 0) {
        ASSERT_LE(found[i - 1].distance, found[i].distance);
      }
      const float farthest = truth.back().distance;
      hits += found[i].distance <= farthest + 1e-5F * (1 + std::abs(farthest)) ? 1 : 0;
      ++wanted;
    }
  }
  EXPECT_GE(static_cast<double>(hits), 0.95 * static_cast<double>(wanted));
}

}  // namespace halo::test
