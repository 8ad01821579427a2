#include "naive_eigen.h"

#include <Eigen/Core>
#include <cmath>
#include <vector>

namespace halo::bench {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMajor>;
constexpr std::size_t kMostRowsWithAllHeads = 4096;

}  // namespace

void naive_eigen_attention(const float* x, std::size_t n, std::size_t d, std::size_t heads,
                           const float* w_q, const float* w_k, const float* w_v, const float* w_o,
                           float* out) {
  const auto rows = static_cast<Eigen::Index>(n), cols = static_cast<Eigen::Index>(d);
  const Eigen::Index head_dim = cols / static_cast<Eigen::Index>(heads);
  const ConstMap input(x, rows, cols);
  const RowMajor q = input * ConstMap(w_q, cols, cols);
  const RowMajor k = input * ConstMap(w_k, cols, cols);
  const RowMajor v = input * ConstMap(w_v, cols, cols);
  RowMajor mixed(rows, cols);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  std::vector<RowMajor> scores(n <= kMostRowsWithAllHeads ? heads : 1);
  const auto softmax_of = [&](std::size_t h, RowMajor& s) {
    const Eigen::Index first = static_cast<Eigen::Index>(h) * head_dim;
    s.noalias() = scale * q.middleCols(first, head_dim) * k.middleCols(first, head_dim).transpose();
    for (Eigen::Index i = 0; i < rows; ++i) {
      s.row(i) = (s.row(i).array() - s.row(i).maxCoeff()).exp();
      s.row(i) /= s.row(i).sum();
    }
  };
  const auto mix = [&](std::size_t h, const RowMajor& s) {
    const Eigen::Index first = static_cast<Eigen::Index>(h) * head_dim;
    mixed.middleCols(first, head_dim).noalias() = s * v.middleCols(first, head_dim);
  };
  if (scores.size() == heads) {
    for (std::size_t h = 0; h < heads; ++h) softmax_of(h, scores[h]);
    for (std::size_t h = 0; h < heads; ++h) mix(h, scores[h]);
  } else {
    for (std::size_t h = 0; h < heads; ++h) {
      softmax_of(h, scores[0]);
      mix(h, scores[0]);
    }
  }
  Eigen::Map<RowMajor>(out, rows, cols).noalias() = mixed * ConstMap(w_o, cols, cols);
}

void naive_eigen_product(const float* a, const float* b, std::size_t n, std::size_t k,
                         std::size_t m, float* out) {
  const auto rows = static_cast<Eigen::Index>(n), depth = static_cast<Eigen::Index>(k),
             cols = static_cast<Eigen::Index>(m);
  Eigen::Map<RowMajor>(out, rows, cols).noalias() =
      ConstMap(a, rows, depth) * ConstMap(b, depth, cols);
}

}  // namespace halo::bench
