// One GNN layer: x <- norm(r x + attention(x)). The attention carries the projections and the
// graph; the layer carries the residual weight and the norm.
//
// Thread-safety: forward and backward are const and stateless (each pass with its own Saved);
// parameters are immutable and shared by copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "halo/attention/local_global_attention.h"
#include "halo/attention/projections.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/tensor.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"

namespace halo::gnn {

/// Where a layer normalises. Persisted in checkpoints: numbers are never reused.
enum class Norm : std::uint32_t {
  kNone = 1,       ///< x <- r x + attention(x)
  kL2 = 2,         ///< x <- l2(r x + attention(x)): stays comparable by cosine
  kPostLayer = 3,  ///< x <- layer_norm(r x + attention(x)) (Vaswani et al. 2017)
  kPreLayer = 4,   ///< x <- r x + attention(layer_norm(x)) (Xiong et al. 2020)
};

struct GnnLayerOptions {
  Norm norm = Norm::kL2;
  /// r: the weight of the node's own state. Raising it moves nodes less towards their neighbours.
  float residual_weight = 1.0F;
  /// Added to the variance by the layer norms.
  float epsilon = 1e-5F;

  /// Throws kInvalidArgument for a residual weight that is not finite, an epsilon that is not
  /// finite and above 0, or an unknown norm.
  void validate() const;
};

class GnnLayer {
 public:
  /// Gain 1 and bias 0. Throws kInvalidArgument for d_model 0 or options that do not validate.
  explicit GnnLayer(std::size_t d_model, const GnnLayerOptions& options = {});

  std::size_t d_model() const { return norm_->gain.cols(); }
  const GnnLayerOptions& options() const { return options_; }

  /// "norm_gain" and "norm_bias" [1, d_model] for the layer norms; none otherwise.
  std::vector<attention::NamedMatrix> named_parameters() const;
  /// Errors as attention::assign_parameters.
  GnnLayer with_parameters(std::span<const attention::NamedMatrix> parameters) const;

  /// x [batch, n, d_model] -> the same shape, attending through `attention` as it is (its window or
  /// mask, its global nodes). Throws kDimensionMismatch where layer, attention and x differ in
  /// d_model, and what attention.forward throws. Costs attention.forward + O(batch n d_model).
  attention::Tensor forward(const attention::TensorView& x,
                            const attention::LocalGlobalAttention& attention,
                            const Executor& executor) const;
  /// The same with `local`, n x n, instead of the attention's own local pattern.
  attention::Tensor forward(const attention::TensorView& x,
                            const attention::LocalGlobalAttention& attention, const CsrView& local,
                            const Executor& executor) const;

  /// What a forward pass leaves for its backward pass. Kept between steps of one shape, it
  /// allocates little.
  struct Saved {
    attention::SavedForward attention;
    attention::Tensor normed;    ///< kPreLayer: what the attention saw
    attention::Tensor kept;      ///< kL2: the output; kPostLayer: what the norm saw
    std::vector<float> lengths;  ///< kL2: of the rows before
  };
  /// The same bytes as forward; `local`, null for the attention's own pattern, must live until
  /// backward.
  attention::Tensor forward(const attention::TensorView& x,
                            const attention::LocalGlobalAttention& attention, const CsrView* local,
                            Saved& saved, const Executor& executor) const;
  /// The gradients of a loss by x, by the attention's parameters and by the norm's, from its
  /// gradient d_y by the output of the last forward(x, attention, ..., saved). Overwrites d_x
  /// unless it is null; adds to the gradients, which have attention.named_parameters()' and
  /// named_parameters()' names. Errors as LocalGlobalAttention::backward. The bytes do not depend
  /// on the executor's threads.
  void backward(const attention::TensorView& x, const attention::LocalGlobalAttention& attention,
                Saved& saved, const attention::TensorView& d_y, const attention::TensorSpan* d_x,
                attention::Gradients& d_attention, attention::Gradients& d_norm,
                const Executor& executor) const;

 private:
  struct NormParameters {
    Matrix gain, bias;  // [1, d_model]
  };
  attention::Tensor run(const attention::TensorView& x,
                        const attention::LocalGlobalAttention& attention, const CsrView* local,
                        Saved* saved, const Executor& executor) const;

  GnnLayerOptions options_;
  std::shared_ptr<const NormParameters> norm_;
};

}  // namespace halo::gnn
