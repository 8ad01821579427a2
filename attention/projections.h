// The Q, K, V and output projections that every attention layer owns, and how parameters are named.
//
// Thread-safety: read-only once made. No bias, as in the notes. Weights are laid out for the
// running CPU's product kernels once, when they are made or changed.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halo/attention/attention_options.h"
#include "halo/attention/tensor.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention {

/// A parameter as checkpoints and optimisers see it. The view lives as long as its layer.
struct NamedMatrix {
  std::string name;
  MatrixView value;
};

/// One matrix a parameter, shaped and named like it. A backward pass adds to them, so that batches,
/// and layers that share parameters, sum up; clear() before the next step.
class Gradients {
 public:
  Gradients() = default;
  /// Zeros.
  explicit Gradients(std::span<const NamedMatrix> parameters);

  /// Throws kInvalidArgument for a name that no parameter has.
  MatrixSpan at(std::string_view name);
  /// In the order of the parameters.
  std::vector<NamedMatrix> named() const;
  void clear();
  /// at(name) += value. Throws kDimensionMismatch for another shape.
  void add(std::string_view name, const MatrixView& value);

 private:
  std::vector<std::string> names_;
  std::vector<Matrix> values_;
};

/// Buffers of one forward pass, kept between calls so that equal shapes allocate once. One call at
/// a time may use a workspace; concurrent calls bring their own.
class Workspace {
 public:
  Matrix qkv;      ///< [batch n, 3 d_model]: Q, K and V side by side
  Matrix mixed;    ///< [batch n, d_model]: the heads' outputs
  Matrix globals;  ///< [batch g, 2 d_model]: keys and values of the global nodes
  Matrix scratch;  ///< one row a worker: logits and the like

  /// Makes `m` at least rows x cols; the contents are undefined afterwards.
  static MatrixSpan fit(Matrix& m, std::size_t rows, std::size_t cols);
  /// Everything held at the moment.
  std::size_t bytes() const;
  /// The part of it that is not Q, K, V: what a mechanism needs beyond inputs and outputs.
  std::size_t bytes_beyond_qkv() const;
};

class Projections {
 public:
  /// W_q, W_k, W_v, W_o as the options say. Throws kInvalidArgument unless num_heads >= 1 divides
  /// d_model >= 1.
  Projections(std::size_t d_model, std::size_t num_heads, const AttentionOptions& options);

  std::size_t d_model() const { return w_o_.rows(); }
  std::size_t num_heads() const { return num_heads_; }
  std::size_t head_dim() const { return d_model() / num_heads_; }
  Storage storage() const { return storage_; }

  /// All [d_model, d_model]; head h owns the columns h head_dim ... (h + 1) head_dim - 1 of the
  /// first three and those rows of w_o. y = x W.
  MatrixView w_q() const { return w_qkv_.view().sub_cols(0, d_model()); }
  MatrixView w_k() const { return w_qkv_.view().sub_cols(d_model(), d_model()); }
  MatrixView w_v() const { return w_qkv_.view().sub_cols(2 * d_model(), d_model()); }
  MatrixView w_o() const { return w_o_; }

  /// "w_q", "w_k", "w_v", "w_o".
  std::vector<NamedMatrix> named() const;
  /// The mutable twin, for whoever owns the projections alone.
  void visit(const std::function<void(const std::string& name, const MatrixSpan& value)>& visitor);
  Projections copy() const;

  /// qkv [batch n, 3 d_model] = x [W_q W_k W_v], rounded as storage() says. Throws
  /// kDimensionMismatch for another x.dim and kNonFinite, naming the row, for NaN or infinity in x.
  /// O(batch n d_model^2). Every row's bytes depend on that row alone.
  void project_in(const TensorView& x, const MatrixSpan& qkv, const Executor& executor) const;
  /// out = mixed W_o, with mixed [batch n, d_model]. Throws kNonFinite where the result overflowed.
  void project_out(const MatrixView& mixed, const TensorSpan& out, const Executor& executor) const;

  /// d_mixed = d_out W_o^T; adds mixed^T d_out to "w_o". Throws kNonFinite for NaN or infinity in
  /// d_out. O(batch n d_model^2).
  void project_out_backward(const MatrixView& mixed, const TensorView& d_out,
                            const MatrixSpan& d_mixed, Gradients& gradients,
                            const Executor& executor) const;
  /// d_x = d_qkv [W_q W_k W_v]^T, unless d_x is null; adds x^T d_qkv to "w_q", "w_k" and "w_v".
  /// O(batch n d_model^2).
  void project_in_backward(const TensorView& x, const MatrixView& d_qkv, const TensorSpan* d_x,
                           Gradients& gradients, const Executor& executor) const;

 private:
  struct Packed;
  Projections() = default;

  std::size_t num_heads_ = 0;
  Storage storage_ = Storage::kFloat32;
  Matrix w_qkv_;  // [d_model, 3 d_model]: one product for all three
  Matrix w_o_;
  std::shared_ptr<const Packed> packed_;
};

/// Copies every value of `from` over the parameter of its name, which `visit` enumerates. Throws
/// kInvalidArgument for a name that is unknown or given twice, kDimensionMismatch for another
/// shape, kNonFinite for NaN or infinity.
void assign_parameters(
    std::span<const NamedMatrix> from,
    const std::function<void(const std::function<void(const std::string&, const MatrixSpan&)>&)>&
        visit);

}  // namespace halo::attention
