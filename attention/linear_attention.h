// Attention in linear time through positive random features, FAVOR+ (Choromanski et al.:
// "Rethinking attention with performers", 2021): orthogonal directions, stabilised exponents. An
// estimate: near for flat attention, wrong by .3 and more for sharp one whatever the number of
// features (docs/attention.md has the errors).
//
// Thread-safety: forward and backward are const and may be called from any number of threads, each
// with its own Workspace or SavedForward. redraw changes this object only: parameters and features
// are immutable and shared, so a copy is cheap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "halo/attention/attention_options.h"
#include "halo/attention/projections.h"
#include "halo/attention/random_features.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/tensor.h"
#include "halo/core/executor.h"

namespace halo::attention {

class LinearAttention {
 public:
  /// `num_features` a head: raising it costs time linearly and lowers the error as
  /// 1 / sqrt(num_features); num_features < n pays. Drawn from options.seed. Throws
  /// kInvalidArgument unless num_heads >= 1 divides d_model >= 1 and num_features >= 1, or for
  /// options that do not validate.
  LinearAttention(std::size_t d_model, std::size_t num_heads, std::size_t num_features,
                  const AttentionOptions& options = {});

  std::size_t d_model() const { return projections_->d_model(); }
  std::size_t num_heads() const { return projections_->num_heads(); }
  std::size_t head_dim() const { return projections_->head_dim(); }
  std::size_t num_features() const { return features_->front().count(); }
  const Projections& projections() const { return *projections_; }
  /// Of head h.
  const RandomFeatures& features(std::size_t h) const { return (*features_)[h]; }
  /// Other directions, to average the estimate's error out over a training run.
  void redraw(std::uint64_t seed);

  /// "w_q", "w_k", "w_v", "w_o". The random directions are not parameters: the seed makes them.
  std::vector<NamedMatrix> named_parameters() const { return projections_->named(); }
  /// The same layer with some or all of these parameters; errors as assign_parameters.
  LinearAttention with_parameters(std::span<const NamedMatrix> parameters) const;

  /// x [batch, n, d_model] -> [batch, n, d_model]. Throws kDimensionMismatch for another dimension
  /// and kNonFinite for NaN or infinity in x, or where the result overflows. Items of a batch do
  /// not influence each other, not in one bit. O(batch n d_model (d_model +
  /// num_features)).
  Tensor forward(const TensorView& x, const Executor& executor) const;
  /// On the calling thread.
  Tensor forward(const TensorView& x) const;
  /// The same into `out`, which has x's shape and is not x; undefined after an error.
  void forward(const TensorView& x, const TensorSpan& out, Workspace& workspace,
               const Executor& executor) const;
  /// The same bytes, and leaves in `saved` what backward needs: O(batch n d_model).
  void forward(const TensorView& x, const TensorSpan& out, SavedForward& saved,
               const Executor& executor) const;

  /// The gradients of a loss by x and by every parameter, from its gradient d_out by the output of
  /// the last forward(x, out, saved) of this layer, through the features of that call. Overwrites
  /// d_x unless it is null; adds to `gradients`, which has named_parameters()' names. Throws
  /// kInvalidArgument where `saved` belongs to another pass, kDimensionMismatch for other shapes,
  /// kNonFinite for NaN or infinity in d_out. About three times forward.
  void backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                const TensorSpan* d_x, Gradients& gradients, const Executor& executor) const;

 private:
  std::shared_ptr<const Projections> projections_;
  std::shared_ptr<const std::vector<RandomFeatures>> features_;  // one a head
  float scale_;
};

}  // namespace halo::attention
