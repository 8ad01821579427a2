#include "openblas_peer.h"

#include <cblas-openblas.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <vector>

namespace halo::bench {
namespace {

constexpr std::size_t kQueries = 256;

blasint as_int(std::size_t n) { return static_cast<blasint>(n); }

// Uninitialised room for n floats.
using Floats = Eigen::Array<float, Eigen::Dynamic, 1>;

}  // namespace

void openblas_attention(const float* x, std::size_t n, std::size_t d, std::size_t heads,
                        const float* w_qkv, const float* w_o, std::size_t threads, float* out) {
  openblas_set_num_threads(static_cast<int>(threads));
  const std::size_t head_dim = d / heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  Floats qkv(static_cast<Eigen::Index>(n * 3 * d)), mixed(static_cast<Eigen::Index>(n * d));
  Floats scores(static_cast<Eigen::Index>(kQueries * n));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, as_int(n), as_int(3 * d), as_int(d), 1.0F,
              x, as_int(d), w_qkv, as_int(3 * d), 0.0F, qkv.data(), as_int(3 * d));
  for (std::size_t h = 0; h < heads; ++h) {
    const float* q = qkv.data() + h * head_dim;
    for (std::size_t i = 0; i < n; i += kQueries) {
      const std::size_t count = std::min(kQueries, n - i);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, as_int(count), as_int(n),
                  as_int(head_dim), scale, q + i * 3 * d, as_int(3 * d), q + d, as_int(3 * d), 0.0F,
                  scores.data(), as_int(n));
      for (std::size_t r = 0; r < count; ++r) {
        Eigen::Map<Floats> row(scores.data() + r * n, static_cast<Eigen::Index>(n));
        row = (row - row.maxCoeff()).exp();
        row *= 1.0F / row.sum();
      }
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, as_int(count), as_int(head_dim),
                  as_int(n), 1.0F, scores.data(), as_int(n), q + 2 * d, as_int(3 * d), 0.0F,
                  mixed.data() + i * d + h * head_dim, as_int(d));
    }
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, as_int(n), as_int(d), as_int(d), 1.0F,
              mixed.data(), as_int(d), w_o, as_int(d), 0.0F, out, as_int(d));
}

void openblas_product(const float* a, const float* b, std::size_t n, std::size_t k, std::size_t m,
                      float* out) {
  openblas_set_num_threads(1);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, as_int(n), as_int(m), as_int(k), 1.0F, a,
              as_int(k), b, as_int(m), 0.0F, out, as_int(m));
}

}  // namespace halo::bench
