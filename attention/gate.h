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

  /// In place, for head h of node x [d_model]: local <- blend(local, global), head_dim floats each.
  /// A part that is absent takes no share: without globals the output is the local part (not half
  /// of it), and under kConvex a row without local neighbours is its global part.
  void blend(std::size_t head, const float* x, bool has_local, const float* global,
             float* local) const;

 private:
  Gate() = default;
  void update_shares();

  GateMode mode_ = GateMode::kConvex;
  GateLimit limit_ = GateLimit::kTanh;
  Matrix gate_, weight_, bias_;
  Matrix local_share_, global_share_;  // [num_heads, head_dim], from gate_
};

}  // namespace halo::attention
