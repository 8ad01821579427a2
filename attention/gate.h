// How the local and the global part of LocalGlobalAttention become one output (GateMode).
//
// Thread-safety: read-only once made.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "halo/attention/attention_options.h"
#include "halo/attention/projections.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention {

class Gate {
 public:
  /// num_heads must divide d_model. A kConvex gate starts seeded in +-0.01, the signed ones at 0.
  Gate(std::size_t d_model, std::size_t num_heads, const AttentionOptions& options);

  GateMode mode() const { return mode_; }
  /// kConvex, kSigned: "gate" [num_heads, head_dim]. kSignedPerNode: "gate_weight" [num_heads,
  /// d_model] and "gate_bias" [1, num_heads].
  std::vector<NamedMatrix> named() const;
  /// The mutable twin, for whoever owns the gate alone; the visitor may change the values.
  void visit(const std::function<void(const std::string& name, const MatrixSpan& value)>& visitor);
  Gate copy() const;

  /// out <- blend(local, global) for all heads of node x: d_model floats each; out may be local. A
  /// part that is absent takes no share: without globals a caller blends nothing and the output is
  /// the local part (not half of it), and under kConvex a row without local neighbours is its
  /// global part. O(d_model), or O(d_model num_heads) for kSignedPerNode.
  void blend(const float* x, bool has_local, const float* local, const float* global,
             float* out) const;

  /// What a blend of the rows of one sequence was made of. `mask` tells which rows have local
  /// neighbours; null: all.
  struct Blended {
    MatrixView x, local, global;  ///< [n, d_model]
    const CsrView* mask = nullptr;
  };
  /// From the gradient d_out by the blend: d_local (may be d_out), d_global, and the gate's own,
  /// added to `gradients`. `slopes` [n, num_heads] receives, for kSignedPerNode, what
  /// add_input_gradient needs. The bytes do not depend on the number of threads.
  void backward(const Blended& blended, const MatrixView& d_out, const MatrixSpan& d_local,
                const MatrixSpan& d_global, const MatrixSpan& slopes, Gradients& gradients,
                const Executor& executor) const;
  /// d_x += the gradient by the nodes through their gates: nothing but for kSignedPerNode.
  void add_input_gradient(const MatrixView& slopes, const MatrixSpan& d_x,
                          const Executor& executor) const;

 private:
  Gate() = default;
  void update_shares();
  std::size_t num_heads() const;
  float node_gate(const float* x, std::size_t head) const;  // before the limit
  void backward_row(const Blended& blended, std::size_t i, const float* d_out, float* d_local,
                    float* d_global, float* slopes, double* d_gate) const;

  GateMode mode_ = GateMode::kConvex;
  GateLimit limit_ = GateLimit::kTanh;
  Matrix gate_, weight_, bias_;
  Matrix local_share_, global_share_;  // [num_heads, head_dim], from gate_
};

}  // namespace halo::attention
