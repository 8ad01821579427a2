#include "halo/attention/projections.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "halo/attention/detail/row_kernels.h"
#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

// Rows of one product: small enough to share out, large enough to repay the packing of the weights.
constexpr std::size_t kProductRows = 256;

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

void check_finite(const MatrixView& rows, std::size_t item, std::size_t first, const char* what) {
  for (std::size_t i = 0; i < rows.rows; ++i) {
    if (!kernels::all_finite(rows.row(i), rows.cols)) {
      throw Error(ErrorCode::kNonFinite,
                  "attention: " + std::string(what) + " NaN or infinity in row " +
                      std::to_string(first + i) + " of item " + std::to_string(item));
    }
  }
}

std::size_t bytes_of(const Matrix& m) { return m.rows() * m.stride() * sizeof(float); }

}  // namespace

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
    : num_heads_(num_heads) {
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
}

Projections Projections::copy() const {
  Projections twin;
  twin.num_heads_ = num_heads_;
  twin.w_qkv_ = Matrix::copy_of(w_qkv_);
  twin.w_o_ = Matrix::copy_of(w_o_);
  return twin;
}

void Projections::project_in(const TensorView& x, Workspace& workspace,
                             const Executor& executor) const {
  if (x.dim != d_model()) {
    throw Error(ErrorCode::kDimensionMismatch, "attention: input of dimension " +
                                                   std::to_string(x.dim) + ", d_model is " +
                                                   std::to_string(d_model()));
  }
  const MatrixSpan qkv = Workspace::fit(workspace.qkv, x.batch * x.n, 3 * d_model());
  detail::for_each_block(executor, x.batch, x.n, kProductRows,
                         [&](std::size_t, std::size_t item, std::size_t begin, std::size_t end) {
                           const MatrixView rows = x.item(item).sub_rows(begin, end - begin);
                           check_finite(rows, item, begin, "the input has");
                           kernels::gemm(rows, w_qkv_,
                                         qkv.sub_rows(item * x.n + begin, end - begin),
                                         detail::calling_thread());
                         });
}

void Projections::project_out(const Workspace& workspace, const TensorSpan& out,
                              const Executor& executor) const {
  detail::for_each_block(executor, out.batch, out.n, kProductRows,
                         [&](std::size_t, std::size_t item, std::size_t begin, std::size_t end) {
                           const MatrixSpan rows = out.item(item).sub_rows(begin, end - begin);
                           kernels::gemm(
                               workspace.mixed.view().sub_rows(item * out.n + begin, end - begin),
                               w_o_, rows, detail::calling_thread());
                           check_finite(rows, item, begin, "the output overflowed to");
                         });
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
