// A refinement model learned from labels or judgements: a learned metric, content states over its
// own neighbour windows, and, where labels were given, the classes of the base vectors.
//
// A query is projected into the learned space and walks the windows there, beginning at its plain
// candidates and at the nodes of its likeliest classes, because what belongs with it may lie far
// away in the space of the vectors. It attends to the states it found, layer by layer, and is
// scored by
//   f = z(content) + z(cosine) / 2 + label_weight sum_c sqrt(P(c | query) P(c | base vector)),
// z(s) = (s - s_101st) / (s_1st - s_101st). P(c | query) is a mixture: `centroid_share` of it is a
// softmax over the classes' centroids, the rest is read off the neighbours the query attends to in
// the learned space and, for `plain_share` of that, off its nearest plain candidate. The layers
// are content layers, or those of a GNN that was trained end to end.
//
// Thread-safety: immutable; refine() may run on any number of threads, each with its own scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "halo/core/half_matrix.h"
#include "halo/core/matrix_view.h"
#include "halo/gnn/class_posteriors.h"
#include "halo/gnn/content_layer.h"
#include "halo/gnn/gnn_query.h"
#include "halo/gnn/index_identity.h"
#include "halo/gnn/projection.h"

namespace halo::gnn {

/// What a trained model is made of, and what a file stores.
struct TrainedParts {
  IndexIdentity index;  ///< the index it belongs to
  std::size_t size = 0, dim = 0;
  bool unit_input = true;  ///< vectors are scaled to unit length before they are projected
  std::string view;        ///< what the metric was learned on: "spectral", "pca", ...
  Projection projection;   ///< the learned metric
  float scale = 0;         ///< of its cosines, in a softmax over classes; above 0
  std::size_t window = 0;  ///< neighbours a node attends to
  ContentLayerOptions layer;
  std::vector<HalfMatrix> states;       ///< [size, out_dim] after 0, 1, ... layers
  std::vector<std::uint32_t> windows;   ///< [size, window], nearest first, kNoNode padded
  std::shared_ptr<const GnnQuery> gnn;  ///< null: content layers
  std::size_t gnn_window = 0;           ///< neighbours its layers attend to, 1 to `window`
  /// The global nodes of each of its layers.
  std::vector<std::vector<std::uint32_t>> global_nodes;
  std::size_t label_window = 20;       ///< neighbours that a query's class is read off
  float label_sharpness = 4.0F;        ///< of the attention to them
  float label_weight = 0;              ///< 0: classes are not used
  float plain_share = 0;               ///< 0 to 1, see above
  float centroid_share = 0.25F;        ///< 0 to 1, see above
  Matrix centroids;                    ///< [classes, out_dim], unit rows; none without labels
  std::vector<std::uint32_t> entries;  ///< one node a class, where walks may begin
  ClassPosteriors posteriors;          ///< [size], none without labels
};

class TrainedModel {
 public:
  /// Checks shapes, ranges and finiteness; throws kCorrupt naming what is wrong.
  static std::shared_ptr<const TrainedModel> create(TrainedParts parts);

  /// As created: label_weight() and the shares are what this model uses.
  const TrainedParts& parts() const { return *parts_; }
  float label_weight() const { return use_.label_weight; }
  float plain_share() const { return use_.plain_share; }
  float centroid_share() const { return use_.centroid_share; }
  std::size_t size() const { return parts_->size; }
  std::size_t dim() const { return parts_->dim; }
  std::size_t memory_bytes() const;

  /// Reusable memory of one thread.
  class Scratch {
   public:
    /// The candidates of the last refine(), best first, and their scores.
    std::vector<std::uint32_t> nodes;
    std::vector<float> scores;
    /// P(label | query) of the last refine(), of a model that uses its classes.
    float probability_of(std::uint32_t label) const { return classes_[label] * classes_[label]; }

   private:
    friend class TrainedModel;
    struct Found {
      float cosine;
      std::uint32_t node;
    };
    std::vector<std::uint32_t> seen_;  // the number of the walk that saw a node last
    std::uint32_t walk_ = 0;
    std::vector<Found> frontier_, nearest_, allowed_;
    std::vector<float> query_, state_, message_, cosines_, content_, classes_, attention_, sorted_;
    std::vector<std::uint32_t> likeliest_;
    Matrix window_, globals_;
    GnnQuery::Scratch gnn_;
  };

  /// Fills scratch.nodes with up to `limit` candidates, best first: the nearest in the learned
  /// space of `candidates` and of the nodes on the walk that `allows` lets be results (empty: all).
  /// `query` [dim], `candidates` nearest first with their `distances`. A query that is itself a
  /// base vector is answered as if it were not, where `left_out` is its node and no candidate.
  /// O(limit window out_dim).
  void refine(std::span<const float> query, std::span<const std::uint32_t> candidates,
              std::span<const float> distances, std::size_t limit,
              const std::function<bool(std::uint32_t)>& allows, Scratch& scratch,
              std::uint32_t left_out = kNoNode) const;

  /// The same model with another use of its classes; its memory is shared.
  std::shared_ptr<const TrainedModel> with_label_use(float label_weight, float plain_share,
                                                     float centroid_share) const;

 private:
  struct Use {
    float label_weight = 0, plain_share = 0, centroid_share = 0;
  };
  TrainedModel(std::shared_ptr<const TrainedParts> parts, Use use)
      : parts_(std::move(parts)), use_(use) {}
  bool uses_classes() const { return use_.label_weight > 0 && parts_->centroids.rows() > 0; }
  void walk(std::span<const std::uint32_t> candidates, std::size_t limit,
            const std::function<bool(std::uint32_t)>& allows, std::uint32_t left_out,
            Scratch& scratch) const;
  void likeliest_classes(Scratch& scratch) const;
  void attend(Scratch& scratch) const;
  void run_gnn_layer(std::size_t t, Scratch& scratch) const;
  void read_classes(std::span<const std::uint32_t> candidates, std::span<const float> distances,
                    Scratch& scratch) const;
  void score(Scratch& scratch) const;

  std::shared_ptr<const TrainedParts> parts_;
  Use use_;
};

}  // namespace halo::gnn
