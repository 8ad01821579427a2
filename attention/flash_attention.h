// Exact attention without its matrix: tiles of scores and an online softmax, a backward pass that
// recomputes (Dao, Fu, Ermon, Rudra, Re: "FlashAttention", 2022). Dense, over a CsrMask, or over a
// BlockMask; a BlockMask::from_layers makes it hierarchical flash: blocks chosen from HNSW layers.
//
// Beyond Q, K, V and the heads' outputs it needs at most 1 MB a thread for heads of up to 256
// dimensions.
//
// Thread-safety: forward and backward are const and may be called from any number of threads, each
// with its own Workspace or SavedForward. update_* change this object only: parameters and masks
// are immutable and shared, so a copy is cheap.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "halo/attention/attention_options.h"
#include "halo/attention/block_mask.h"
#include "halo/attention/projections.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/tensor.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"

namespace halo::attention {

namespace detail {
class FlashPattern;
}

class FlashAttention {
 public:
  /// `block_size` is the side of a block of covering masks (update_mask with a CsrMask keeps single
  /// entries); the tiles inside are the CPU's. Throws kInvalidArgument unless num_heads >= 1
  /// divides d_model >= 1, for a block_size of 0, or for options that do not validate.
  FlashAttention(std::size_t d_model, std::size_t num_heads, std::size_t block_size = 128,
                 const AttentionOptions& options = {});

  std::size_t d_model() const { return projections_->d_model(); }
  std::size_t num_heads() const { return projections_->num_heads(); }
  std::size_t head_dim() const { return projections_->head_dim(); }
  std::size_t block_size() const { return block_size_; }
  const Projections& projections() const { return *projections_; }

  /// Every position attends to every other: how it starts.
  void attend_everywhere();
  /// Position i attends to mask->row(i), one edge at a time. Throws kInvalidArgument for null.
  void update_mask(std::shared_ptr<const CsrMask> mask);
  /// Positions attend to the blocks of their block, in dense tiles. Throws kInvalidArgument for
  /// null.
  void update_blocks(std::shared_ptr<const BlockMask> blocks);
  /// Hierarchical flash: update_blocks(BlockMask::from_layers(n, block_size(), band, layers)).
  void update_layers(std::size_t n, std::size_t band,
                     const std::vector<std::vector<std::uint32_t>>& layers);

  /// "w_q", "w_k", "w_v", "w_o".
  std::vector<NamedMatrix> named_parameters() const { return projections_->named(); }
  /// The same layer with some or all of these parameters; errors as assign_parameters.
  FlashAttention with_parameters(std::span<const NamedMatrix> parameters) const;

  /// x [batch, n, d_model] -> [batch, n, d_model]. Throws kDimensionMismatch for another dimension
  /// or a mask of another n, and kNonFinite for NaN or infinity in x, or where the result
  /// overflows. Items of a batch do not influence each other, not in one bit. O(batch d_model
  /// (entries + n d_model)), entries being n^2 where there is no mask.
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
  /// the last forward(x, out, saved) of this layer, over the mask of that call. Overwrites d_x
  /// unless it is null; adds to `gradients`, which has named_parameters()' names. Throws
  /// kInvalidArgument where `saved` belongs to another pass, kDimensionMismatch for other shapes,
  /// kNonFinite for NaN or infinity in d_out. About 3.5 times forward.
  void backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                const TensorSpan* d_x, Gradients& gradients, const Executor& executor) const;

 private:
  std::shared_ptr<const Projections> projections_;
  std::shared_ptr<const detail::FlashPattern> pattern_;
  std::size_t block_size_;
  float scale_;
};

}  // namespace halo::attention
