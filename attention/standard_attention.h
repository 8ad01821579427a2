// Dense multi-head attention, softmax(Q K^T / sqrt(d_h)) V: the exact reference mechanism, and the
// choice for n < 512.
//
// Thread-safety: forward and backward are const and may be called from any number of threads, each
// with its own Workspace or SavedForward. Parameters are immutable and shared by copies, so a copy
// costs nothing.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "halo/attention/attention_options.h"
#include "halo/attention/projections.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/tensor.h"
#include "halo/core/executor.h"

namespace halo::attention {

class StandardAttention {
 public:
  /// Throws kInvalidArgument unless num_heads >= 1 divides d_model >= 1, or for options that do not
  /// validate.
  StandardAttention(std::size_t d_model, std::size_t num_heads,
                    const AttentionOptions& options = {});

  std::size_t d_model() const { return projections_->d_model(); }
  std::size_t num_heads() const { return projections_->num_heads(); }
  std::size_t head_dim() const { return projections_->head_dim(); }
  const Projections& projections() const { return *projections_; }

  /// "w_q", "w_k", "w_v", "w_o".
  std::vector<NamedMatrix> named_parameters() const { return projections_->named(); }
  /// The same layer with some or all of these parameters; errors as assign_parameters.
  StandardAttention with_parameters(std::span<const NamedMatrix> parameters) const;

  /// x [batch, n, d_model] -> [batch, n, d_model]. Throws kDimensionMismatch for another dimension
  /// and kNonFinite for NaN or infinity in x, or where the result overflows. Items of a batch do
  /// not influence each other, not in one bit. O(batch n d_model (n + d_model)).
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
  /// the last forward(x, out, saved) of this layer. Overwrites d_x unless it is null; adds to
  /// `gradients`, which has named_parameters()' names. Throws kInvalidArgument where `saved`
  /// belongs to another pass, kDimensionMismatch for other shapes, kNonFinite for NaN or infinity
  /// in d_out. About three times forward.
  void backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                const TensorSpan* d_x, Gradients& gradients, const Executor& executor) const;

 private:
  StandardAttention(std::shared_ptr<const Projections> projections, float scale);
  std::shared_ptr<const Projections> projections_;
  float scale_;
};

}  // namespace halo::attention
