// The space of a learned projection over an index: every vector's state and neighbours there, from
// which trained models are made.
//
// Thread-safety: immutable after construction; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/progress.h"
#include "halo/gnn/gnn_query.h"
#include "halo/gnn/projection.h"
#include "halo/gnn/trained_model.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// What training, or a file, gives.
struct LearnedProjection {
  std::string view;  ///< what it was learned on: "spectral", "pca", ...
  gnn::Projection projection;
  float scale = 10.0F;  ///< of the cosines, in a softmax over classes
  /// The layers over it; null: content layers.
  std::shared_ptr<const gnn::GnnQuery> gnn = nullptr;
  std::size_t gnn_window = 16;
};

/// Over which neighbours known labels spread, and a query's class is read off: narrow windows
/// follow thin manifolds, wide ones average noise away.
struct LabelSpread {
  std::size_t window = 20;
  float sharpness = 2.0F;  ///< of the attention to them
  float power = 2.0F;      ///< of the posteriors (class_posteriors.h)
};

/// How far classes count where nothing was validated (TrainedParts::label_weight, and
/// shares).
inline constexpr float kDefaultLabelWeight = 4.0F;
inline constexpr float kDefaultPlainShare = 0.25F;
inline constexpr float kDefaultCentroidShare = 0.25F;

class LearnedSpace {
 public:
  /// Projects every vector and finds its neighbours by an index of the space. Throws kModelMismatch
  /// for a projection of another dimension, kCancelled.
  LearnedSpace(const GraphSnapshot& snapshot, LearnedProjection learned, const Executor& executor,
               const Job& job = {});

  const LearnedProjection& learned() const { return learned_; }
  /// [size, window]: nearest first, gnn::kNoNode padded.
  const std::vector<std::uint32_t>& windows() const { return windows_; }
  static std::size_t window();

  /// The model of the index: centroids and propagated posteriors where `labels` [size] holds
  /// classes (gnn::kNoClass: unknown); no classes where `num_classes` is 0. Throws kInvalidArgument
  /// for another number of labels, kCancelled.
  std::shared_ptr<const gnn::TrainedModel> model(std::span<const std::uint32_t> labels,
                                                 std::size_t num_classes, const LabelSpread& spread,
                                                 const Executor& executor,
                                                 const Job& job = {}) const;

  /// Only the posteriors of that model.
  gnn::ClassPosteriors posteriors(std::span<const std::uint32_t> labels, std::size_t num_classes,
                                  const LabelSpread& spread, const Executor& executor,
                                  const Job& job = {}) const;

 private:
  void add_classes(std::span<const std::uint32_t> labels, std::size_t num_classes,
                   const LabelSpread& spread, gnn::TrainedParts& parts, const Executor& executor,
                   const Job& job) const;

  gnn::IndexIdentity index_;
  std::size_t dim_ = 0;
  bool unit_input_ = true;
  LearnedProjection learned_;
  Matrix z_;                                     // [size, out_dim], unit rows
  std::vector<std::uint32_t> windows_;           // [size, window]
  std::vector<float> cosines_;                   // [size, window]
  std::vector<std::vector<Node>> global_nodes_;  // of every GNN layer
  std::vector<HalfMatrix> states_;               // before and after every layer
};

/// LearnedSpace and its model in one call.
std::shared_ptr<const gnn::TrainedModel> prepare_trained(
    const GraphSnapshot& snapshot, LearnedProjection learned, std::span<const std::uint32_t> labels,
    std::size_t num_classes, const Executor& executor, const Job& job = {},
    const LabelSpread& spread = {});

}  // namespace halo
