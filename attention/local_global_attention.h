// Attention to a local pattern and to a few global nodes, blended by a learned gate (Longformer;
// Beltagy, Peters, Cohan 2020): O(n (w + g) d) where dense attention is O(n^2 d).
//
// The local pattern is a window of positions or a CsrMask (HnswMask's, a snapshot's links). Global
// nodes come from the upper layers of an HNSW graph: update_global_indices.
//
// Forward and backward run on the fused kernels: tiles with an online softmax for windows and
// global nodes, a walk over edges for masks; scores are never stored. Training passes a
// SavedForward to forward and to backward; probabilities are recomputed.
//
// Thread-safety: forward is const and may be called from any number of threads, each with its own
// Workspace or SavedForward, and so is backward. update_* change this object only: parameters and
// masks are immutable and shared, so a copy is cheap, and a loop that changes the global nodes per
// layer works on its own copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "halo/attention/attention_options.h"
#include "halo/attention/gate.h"
#include "halo/attention/projections.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/tensor.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"

namespace halo::attention {

namespace detail {
class LocalPattern;
}

class LocalGlobalAttention {
 public:
  /// Position i attends to [i - window_size, i + window_size]: 2 window_size + 1 columns. Raising
  /// the window costs time linearly. Throws kInvalidArgument unless num_heads >= 1 divides
  /// d_model >= 1, or for options that do not validate.
  LocalGlobalAttention(std::size_t d_model, std::size_t num_heads, std::size_t window_size,
                       std::span<const std::uint32_t> global_indices,
                       const AttentionOptions& options = {});
  /// Position i attends to local->row(i). Throws kInvalidArgument for a null mask.
  LocalGlobalAttention(std::size_t d_model, std::size_t num_heads,
                       std::shared_ptr<const CsrMask> local,
                       std::span<const std::uint32_t> global_indices,
                       const AttentionOptions& options = {});

  std::size_t d_model() const { return parameters_->projections.d_model(); }
  std::size_t num_heads() const { return parameters_->projections.num_heads(); }
  std::size_t head_dim() const { return parameters_->projections.head_dim(); }
  const Projections& projections() const { return parameters_->projections; }
  GateMode gate_mode() const { return parameters_->gate.mode(); }
  /// 0 where the local pattern is a mask.
  std::size_t window_size() const;
  /// Null where the local pattern is a window.
  const std::shared_ptr<const CsrMask>& local_mask() const;
  /// Ascending, each once.
  std::span<const std::uint32_t> global_indices() const { return globals_; }

  /// In any order; duplicates are merged, so none counts twice. An index outside the sequence is
  /// refused by forward, which is the first to know n. None: the output is the local part alone.
  /// O(g log g).
  void update_global_indices(std::span<const std::uint32_t> indices);
  void update_window(std::size_t window_size);
  /// Throws kInvalidArgument for a null mask.
  void update_local_mask(std::shared_ptr<const CsrMask> local);

  /// The projections' and the gate's: see Projections::named and Gate::named.
  std::vector<NamedMatrix> named_parameters() const;
  /// The same layer with some or all of these parameters; errors as assign_parameters.
  LocalGlobalAttention with_parameters(std::span<const NamedMatrix> parameters) const;

  /// x [batch, n, d_model] -> [batch, n, d_model]. A mask serves every item of the batch. A row
  /// with no local neighbour has a zero local part, or under GateMode::kConvex its global part
  /// alone. Throws kDimensionMismatch for another dimension or a mask that is not n x n,
  /// kInvalidArgument for a global index >= n, kNonFinite for NaN or infinity in x, or where the
  /// result overflows. Items of a batch do not influence each other, not in one bit.
  /// O(batch n d_model (d_model + w + g)).
  Tensor forward(const TensorView& x, const Executor& executor) const;
  /// On the calling thread.
  Tensor forward(const TensorView& x) const;
  /// With another local pattern for this call: a borrowed mask, checked first in O(entries).
  Tensor forward(const TensorView& x, const CsrView& local, const Executor& executor) const;
  /// The same into `out`, which has x's shape and is not x; undefined after an error. `local` is
  /// null for the attention's own pattern. Beyond Q, K, V and the heads' outputs it uses at most
  /// 1 MB a thread for heads of up to 256 dimensions.
  void forward(const TensorView& x, const CsrView* local, const TensorSpan& out,
               Workspace& workspace, const Executor& executor) const;
  /// The same bytes, and leaves in `saved` what backward needs: O(batch n d_model). `local` must
  /// live until then.
  void forward(const TensorView& x, const CsrView* local, const TensorSpan& out,
               SavedForward& saved, const Executor& executor) const;

  /// The gradients of a loss by x and by every parameter, from its gradient d_out by the output of
  /// the last forward(x, ..., saved) of this layer or of a copy that shares its parameters: window,
  /// mask and global nodes are those of that call. Overwrites d_x unless it is null; adds to
  /// `gradients`, which has named_parameters()' names. A mask of the layer's own is turned by
  /// columns once, a borrowed one in every call. Throws kInvalidArgument where `saved` belongs to
  /// another pass, kDimensionMismatch for other shapes, kNonFinite for NaN or infinity in d_out.
  /// About three times forward.
  void backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                const TensorSpan* d_x, Gradients& gradients, const Executor& executor) const;

 private:
  struct Parameters {
    Projections projections;
    Gate gate;
    float scale;
  };
  LocalGlobalAttention(std::size_t d_model, std::size_t num_heads,
                       std::span<const std::uint32_t> global_indices,
                       const AttentionOptions& options);

  struct Parts;
  std::shared_ptr<const detail::LocalPattern> pattern_for(const TensorView& x,
                                                          const CsrView* local) const;
  void attend(const TensorView& x, const detail::LocalPattern& pattern, const Parts& parts,
              const Executor& executor) const;
  void backward_item(std::size_t b, const TensorView& x, detail::SavedState& state,
                     Gradients& gradients, const Executor& executor) const;

  std::shared_ptr<const Parameters> parameters_;
  std::shared_ptr<const detail::LocalPattern> pattern_;
  std::vector<std::uint32_t> globals_;  // ascending, unique
};

}  // namespace halo::attention
