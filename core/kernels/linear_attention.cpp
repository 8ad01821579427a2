#include "halo/core/kernels/linear_attention.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::kernels {
namespace {

// What runs inside a parallel body stays on its thread.
const Executor& calling_thread() {
  static const Executor executor(1);
  return executor;
}

void zero(const MatrixSpan& m) {
  for (std::size_t i = 0; i < m.rows; ++i) std::fill_n(m.row(i), m.cols, 0.0F);
}

void add_to_all(float x, float* row, std::size_t d) {
  for (std::size_t r = 0; r < d; ++r) row[r] += x;
}

// The gradients by the keys' sums: of values [k, dv] and of ones [k].
struct SumGradients {
  Matrix values;
  std::vector<float> ones;

  SumGradients(std::size_t features, std::size_t dv)
      : values(Matrix::padded(features, dv)), ones(features) {}

  void add(const SumGradients& other) {
    for (std::size_t r = 0; r < values.rows(); ++r) {
      axpy(1.0F, other.values.row(r), values.row(r), values.cols());
    }
    axpy(1.0F, other.ones.data(), ones.data(), ones.size());
  }
};

// What every block of a backward pass reads.
struct Pass {
  const PackedMatrix &omega, &omega_t;
  const LinearAttentionOptions& options;
};

// Queries: out_i = phi_i S / D_i, D_i = phi_i . z. Writes their gradients and adds to those of S
// and z.
void backward_queries(const Pass& pass, const KeySums& sums, const PackedMatrix& values_t,
                      const MatrixView& q, const MatrixView& d_out, const MatrixSpan& d_q,
                      SumGradients& gradients) {
  const std::size_t features = pass.omega_t.cols();
  Matrix phi = Matrix::padded(kFeatureBlock, features);
  Matrix slopes = Matrix::padded(kFeatureBlock, features);
  Matrix shares = Matrix::padded(kFeatureBlock, d_out.cols);
  std::vector<float> totals(kFeatureBlock);
  for (std::size_t b = 0; b < q.rows; b += kFeatureBlock) {
    const std::size_t count = std::min(kFeatureBlock, q.rows - b);
    const MatrixSpan rows = phi.span().sub_rows(0, count),
                     by_phi = slopes.span().sub_rows(0, count);
    query_features(q.sub_rows(b, count), {&pass.omega_t}, pass.options.scale, pass.options.epsilon,
                   sums.ones.data(), rows, totals.data());
    gemm(d_out.sub_rows(b, count), values_t, by_phi, calling_thread());
    for (std::size_t i = 0; i < count; ++i) {
      float *features_i = rows.row(i), *slope = by_phi.row(i), *share = shares.row(i);
      const float inverse = 1.0F / totals[i];
      const float mean = inverse * dot(features_i, slope, features);
      std::copy_n(d_out.row(b + i), d_out.cols, share);
      scale(inverse, share, d_out.cols);
      axpy(-inverse * mean, features_i, gradients.ones.data(), features);
      // By the exponents: what the constant epsilon adds to a feature has no slope.
      for (std::size_t r = 0; r < features; ++r) {
        slope[r] = pass.options.scale * inverse * (slope[r] - mean * sums.ones[r]) *
                   (features_i[r] - pass.options.epsilon);
      }
    }
    gemm(by_phi, pass.omega, d_q.sub_rows(b, count), calling_thread());
    gemm_tn_add(rows, shares.view().sub_rows(0, count), gradients.values, calling_thread());
  }
}

// Keys: S = sum_j phi_j v_j, z = sum_j phi_j.
void backward_keys(const Pass& pass, float max, const SumGradients& sums, const PackedMatrix& d_s,
                   const PackedMatrix& d_s_t, const MatrixView& k, const MatrixView& v,
                   const MatrixSpan& d_k, const MatrixSpan& d_v) {
  const std::size_t features = pass.omega_t.cols();
  const float by = pass.options.scale;
  Matrix phi = Matrix::padded(k.rows, features), slopes = Matrix::padded(k.rows, features);
  std::vector<float> totals(k.rows);
  key_features(k, {&pass.omega_t}, by, max, phi);  // max is at least every exponent
  gemm(v, d_s_t, slopes, calling_thread());
  for (std::size_t j = 0; j < k.rows; ++j) {
    float *features_j = phi.row(j), *slope = slopes.row(j);
    float total = 0.0F;
    for (std::size_t r = 0; r < features; ++r) {
      slope[r] = (slope[r] + sums.ones[r]) * features_j[r];
      total += slope[r];
    }
    totals[j] = total;
    add_to_all(pass.options.epsilon, features_j, features);
  }
  gemm(phi, d_s, d_v, calling_thread());
  gemm(slopes, pass.omega, d_k, calling_thread());
  for (std::size_t j = 0; j < k.rows; ++j) {  // exponents fall by |scale k_j|^2 / 2
    scale(by, d_k.row(j), k.cols);
    axpy(-by * by * totals[j], k.row(j), d_k.row(j), k.cols);
  }
}

// One head's sums, as the products with queries read them.
struct PackedSums {
  PackedMatrix values;
  PackedHalfMatrix half_values;
};

template <class Keys>
void forward(const MatrixView& q, const Keys& k, const Keys& v, std::span<const FavorMap> heads,
             const LinearAttentionOptions& options, const MatrixSpan& out,
             const Executor& executor) {
  const std::size_t features = heads[0].features(), d = q.cols / heads.size(),
                    dv = v.cols / heads.size();
  assert(d == heads[0].dim() && k.cols == q.cols && v.rows == k.rows && features > 0);
  assert(out.rows == q.rows && out.cols == v.cols);
  if (k.rows == 0) return zero(out);
  const std::vector<KeySums> sums = sum_keys(k, v, heads, options.scale, options.epsilon, executor);
  std::vector<PackedSums> packed(heads.size());
  executor.parallel_for(heads.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t h = first; h < last; ++h) {
      if (heads[h].half_omega_t != nullptr) {
        packed[h].half_values = pack_half(sums[h].values);
      } else {
        packed[h].values = pack(sums[h].values);
      }
    }
  });
  const std::size_t blocks = (q.rows + kFeatureBlock - 1) / kFeatureBlock;
  Matrix rooms = Matrix::padded(executor.threads() * std::min(kFeatureBlock, q.rows), features);
  executor.parallel_for_workers(
      heads.size() * blocks, 1, [&](std::size_t worker, std::size_t first, std::size_t last) {
        for (std::size_t t = first; t < last; ++t) {
          const std::size_t h = t / blocks, begin = t % blocks * kFeatureBlock;
          const std::size_t count = std::min(kFeatureBlock, q.rows - begin);
          const MatrixSpan phi =
              rooms.span().sub_rows(worker * std::min(kFeatureBlock, q.rows), count);
          float totals[kFeatureBlock];
          query_features(q.sub_cols(h * d, d).sub_rows(begin, count), heads[h], options.scale,
                         options.epsilon, sums[h].ones.data(), phi, totals);
          const MatrixSpan rows = out.sub_cols(h * dv, dv).sub_rows(begin, count);
          if (heads[h].half_omega_t != nullptr) {
            gemm(phi, packed[h].half_values, rows, calling_thread());
          } else {
            gemm(phi, packed[h].values, rows, calling_thread());
          }
          for (std::size_t i = 0; i < count; ++i) {
            scale(1.0F / totals[i], rows.row(i), rows.cols);
          }
        }
      });
}

}  // namespace

void linear_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              std::span<const FavorMap> heads,
                              const LinearAttentionOptions& options, const MatrixSpan& out,
                              const Executor& executor) {
  forward(q, k, v, heads, options, out, executor);
}

void linear_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const PackedMatrix& omega_t, const LinearAttentionOptions& options,
                              const MatrixSpan& out, const Executor& executor) {
  const FavorMap map{&omega_t};
  forward(q, k, v, {&map, 1}, options, out, executor);
}

void linear_attention_forward(const MatrixView& q, const HalfView& k, const HalfView& v,
                              const PackedMatrix& omega_t, const LinearAttentionOptions& options,
                              const MatrixSpan& out, const Executor& executor) {
  const FavorMap map{&omega_t};
  forward(q, k, v, {&map, 1}, options, out, executor);
}

void linear_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               const PackedMatrix& omega, const PackedMatrix& omega_t,
                               const LinearAttentionOptions& options, const MatrixView& d_out,
                               const LinearGradients& gradients, const Executor& executor) {
  assert(q.cols == omega_t.rows() && k.cols == q.cols && v.rows == k.rows && omega_t.cols() > 0);
  assert(omega.rows() == omega_t.cols() && omega.cols() == omega_t.rows());
  assert(d_out.rows == q.rows && d_out.cols == v.cols);
  if (k.rows == 0) return zero(gradients.q);
  if (q.rows == 0) {
    zero(gradients.k);
    return zero(gradients.v);
  }
  const Pass pass{omega, omega_t, options};
  const std::size_t features = omega_t.cols(), part = rows_a_part(q.rows);
  const FavorMap map{&omega_t};
  const KeySums sums =
      std::move(sum_keys(k, v, {&map, 1}, options.scale, options.epsilon, executor).front());
  const PackedMatrix values_t = pack_transposed(sums.values);
  std::vector<SumGradients> parts;
  for (std::size_t p = 0; p < q.rows; p += part) parts.emplace_back(features, v.cols);
  executor.parallel_for(q.rows, part, [&](std::size_t begin, std::size_t end) {
    const std::size_t count = end - begin;
    backward_queries(pass, sums, values_t, q.sub_rows(begin, count), d_out.sub_rows(begin, count),
                     gradients.q.sub_rows(begin, count), parts[begin / part]);
  });
  SumGradients& d_sums = parts.front();
  for (std::size_t p = 1; p < parts.size(); ++p) d_sums.add(parts[p]);
  const PackedMatrix d_s = pack(d_sums.values), d_s_t = pack_transposed(d_sums.values);
  executor.parallel_for(k.rows, kFeatureBlock, [&](std::size_t begin, std::size_t end) {
    const std::size_t count = end - begin;
    backward_keys(pass, sums.max, d_sums, d_s, d_s_t, k.sub_rows(begin, count),
                  v.sub_rows(begin, count), gradients.k.sub_rows(begin, count),
                  gradients.v.sub_rows(begin, count));
  });
}

}  // namespace halo::kernels
