#include "halo/attention/projections.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

constexpr std::size_t kRowsAtOnce = 256;

void fill_identity(const MatrixSpan& m) {
  for (std::size_t i = 0; i < m.rows; ++i) m.row(i)[i] = 1.0F;
}

void fill_glorot(const MatrixSpan& m, std::uint64_t seed, std::uint64_t stream) {
  Random random(seed, stream);
  const double limit = std::sqrt(6.0 / static_cast<double>(m.rows + m.cols));
  for (std::size_t i = 0; i < m.rows; ++i) {
    for (std::size_t j = 0; j < m.cols; ++j) {
      m.row(i)[j] = static_cast<float>(limit * (2.0 * random.uniform() - 1.0));
    }
  }
}

void check_finite(const TensorView& x, const char* what, const Executor& executor) {
  const MatrixView rows = x.flat();
  executor.parallel_for(rows.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (!kernels::all_finite(rows.row(i), rows.cols)) {
        throw Error(ErrorCode::kNonFinite,
                    "attention: " + std::string(what) + " NaN or infinity in row " +
                        std::to_string(i % x.n) + " of item " + std::to_string(i / x.n));
      }
    }
  });
}

std::size_t bytes_of(const Matrix& m) { return m.rows() * m.stride() * sizeof(float); }

}  // namespace

// One kind of the two, as the storage says.
struct Projections::Packed {
  kernels::PackedMatrix qkv, output;
  kernels::PackedHalfMatrix half_qkv, half_output;
};

Gradients::Gradients(std::span<const NamedMatrix> parameters) {
  for (const NamedMatrix& parameter : parameters) {
    names_.push_back(parameter.name);
    values_.emplace_back(parameter.value.rows, parameter.value.cols);
  }
}

MatrixSpan Gradients::at(std::string_view name) {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) {
    throw Error(ErrorCode::kInvalidArgument,
                "gradients: no parameter is called " + std::string(name));
  }
  return values_[static_cast<std::size_t>(found - names_.begin())];
}

std::vector<NamedMatrix> Gradients::named() const {
  std::vector<NamedMatrix> all;
  for (std::size_t i = 0; i < names_.size(); ++i) all.push_back({names_[i], values_[i]});
  return all;
}

void Gradients::clear() {
  for (Matrix& value : values_) {
    for (std::size_t i = 0; i < value.rows(); ++i) std::fill_n(value.row(i), value.cols(), 0.0F);
  }
}

void Gradients::add(std::string_view name, const MatrixView& value) {
  const MatrixSpan to = at(name);
  if (value.rows != to.rows || value.cols != to.cols) {
    throw Error(ErrorCode::kDimensionMismatch,
                "gradients: " + std::to_string(value.rows) + " x " + std::to_string(value.cols) +
                    " for " + std::string(name) + ", which is " + std::to_string(to.rows) + " x " +
                    std::to_string(to.cols));
  }
  for (std::size_t i = 0; i < to.rows; ++i) kernels::axpy(1.0F, value.row(i), to.row(i), to.cols);
}

MatrixSpan Workspace::fit(Matrix& m, std::size_t rows, std::size_t cols) {
  if (m.rows() < rows || m.cols() != cols) m = Matrix::padded(rows, cols);
  return m.span().sub_rows(0, rows);
}

std::size_t Workspace::bytes_beyond_qkv() const {
  return bytes_of(mixed) + bytes_of(globals) + bytes_of(scratch);
}

std::size_t Workspace::bytes() const { return bytes_of(qkv) + bytes_beyond_qkv(); }

Projections::Projections(std::size_t d_model, std::size_t num_heads,
                         const AttentionOptions& options)
    : num_heads_(num_heads), storage_(options.storage) {
  options.validate();
  if (d_model == 0 || num_heads == 0 || d_model % num_heads != 0) {
    throw Error(ErrorCode::kInvalidArgument, "attention: d_model " + std::to_string(d_model) +
                                                 " must be a positive multiple of num_heads " +
                                                 std::to_string(num_heads));
  }
  w_qkv_ = Matrix(d_model, 3 * d_model);
  w_o_ = Matrix(d_model, d_model);
  std::uint64_t stream = 0;
  visit([&](const std::string& name, const MatrixSpan& w) {
    ++stream;
    if (options.initialisation == Initialisation::kIdentity) {
      fill_identity(w);
    } else if (options.initialisation == Initialisation::kGlorot || name != "w_o") {
      fill_glorot(w, options.seed, stream);
    }
  });
}

std::vector<NamedMatrix> Projections::named() const {
  return {{"w_q", w_q()}, {"w_k", w_k()}, {"w_v", w_v()}, {"w_o", w_o()}};
}

void Projections::visit(const std::function<void(const std::string&, const MatrixSpan&)>& visitor) {
  const std::size_t d = d_model();
  visitor("w_q", w_qkv_.span().sub_cols(0, d));
  visitor("w_k", w_qkv_.span().sub_cols(d, d));
  visitor("w_v", w_qkv_.span().sub_cols(2 * d, d));
  visitor("w_o", w_o_.span());
  Packed packed;
  if (storage_ == Storage::kBfloat16) {
    packed.half_qkv = kernels::pack_half(w_qkv_);
    packed.half_output = kernels::pack_half(w_o_);
  } else {
    packed.qkv = kernels::pack(w_qkv_);
    packed.output = kernels::pack(w_o_);
  }
  packed_ = std::make_shared<const Packed>(std::move(packed));
}

Projections Projections::copy() const {
  Projections twin;
  twin.num_heads_ = num_heads_;
  twin.storage_ = storage_;
  twin.w_qkv_ = Matrix::copy_of(w_qkv_);
  twin.w_o_ = Matrix::copy_of(w_o_);
  twin.packed_ = packed_;
  return twin;
}

void Projections::project_in(const TensorView& x, const MatrixSpan& qkv,
                             const Executor& executor) const {
  if (x.dim != d_model()) {
    throw Error(ErrorCode::kDimensionMismatch, "attention: input of dimension " +
                                                   std::to_string(x.dim) + ", d_model is " +
                                                   std::to_string(d_model()));
  }
  check_finite(x, "the input has", executor);
  if (storage_ == Storage::kFloat32) {
    kernels::gemm(x.flat(), packed_->qkv, qkv, executor);
    return;
  }
  kernels::gemm_rounded(x.flat(), packed_->half_qkv, qkv, executor);
}

void Projections::project_out(const MatrixView& mixed, const TensorSpan& out,
                              const Executor& executor) const {
  if (storage_ == Storage::kBfloat16) {
    kernels::gemm(mixed, packed_->half_output, out.flat(), executor);
  } else {
    kernels::gemm(mixed, packed_->output, out.flat(), executor);
  }
  check_finite(out, "the output overflowed to", executor);
}

void Projections::project_out_backward(const MatrixView& mixed, const TensorView& d_out,
                                       const MatrixSpan& d_mixed, Gradients& gradients,
                                       const Executor& executor) const {
  check_finite(d_out, "the output's gradient has", executor);
  kernels::gemm_nt(d_out.flat(), w_o_, d_mixed, executor);
  Matrix d_w(d_model(), d_model());
  kernels::gemm_tn(mixed, d_out.flat(), d_w, executor);
  gradients.add("w_o", d_w);
}

void Projections::project_in_backward(const TensorView& x, const MatrixView& d_qkv,
                                      const TensorSpan* d_x, Gradients& gradients,
                                      const Executor& executor) const {
  if (d_x != nullptr) kernels::gemm_nt(d_qkv, w_qkv_, d_x->flat(), executor);
  const std::size_t d = d_model();
  Matrix d_w(d, 3 * d);
  kernels::gemm_tn(x.flat(), d_qkv, d_w, executor);
  gradients.add("w_q", d_w.view().sub_cols(0, d));
  gradients.add("w_k", d_w.view().sub_cols(d, d));
  gradients.add("w_v", d_w.view().sub_cols(2 * d, d));
}

void assign_parameters(
    std::span<const NamedMatrix> from,
    const std::function<void(const std::function<void(const std::string&, const MatrixSpan&)>&)>&
        visit) {
  std::set<std::string> given, known;
  for (const NamedMatrix& parameter : from) {
    if (!given.insert(parameter.name).second) {
      throw Error(ErrorCode::kInvalidArgument,
                  "attention: parameter " + parameter.name + " is given twice");
    }
  }
  visit([&](const std::string& name, const MatrixSpan& to) {
    known.insert(name);
    for (const NamedMatrix& parameter : from) {
      if (parameter.name != name) continue;
      const MatrixView& value = parameter.value;
      if (value.rows != to.rows || value.cols != to.cols) {
        throw Error(ErrorCode::kDimensionMismatch,
                    "attention: parameter " + name + " is " + std::to_string(value.rows) + " x " +
                        std::to_string(value.cols) + " instead of " + std::to_string(to.rows) +
                        " x " + std::to_string(to.cols));
      }
      for (std::size_t i = 0; i < to.rows; ++i) {
        if (!kernels::all_finite(value.row(i), value.cols)) {
          throw Error(ErrorCode::kNonFinite, "attention: parameter " + name +
                                                 " holds NaN or infinity in row " +
                                                 std::to_string(i));
        }
        std::copy_n(value.row(i), value.cols, to.row(i));
      }
    }
  });
  for (const std::string& name : given) {
    if (!known.contains(name)) {
      throw Error(ErrorCode::kInvalidArgument, "attention: no parameter is called " + name);
    }
  }
}

}  // namespace halo::attention
