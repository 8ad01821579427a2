#include "naive_eigen.h"

#include <Eigen/Core>
#include <cmath>
#include <vector>

namespace halo::bench {

void naive_eigen_attention(const float* x, std::size_t n, std::size_t d, std::size_t heads,
                           const float* w_q, const float* w_k, const float* w_v, const float* w_o,
                           float* out) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using ConstMap = Eigen::Map<const RowMajor>;
  const auto rows = static_cast<Eigen::Index>(n), cols = static_cast<Eigen::Index>(d);
  const Eigen::Index head_dim = cols / static_cast<Eigen::Index>(heads);
  const ConstMap input(x, rows, cols);
  const RowMajor q = input * ConstMap(w_q, cols, cols);
  const RowMajor k = input * ConstMap(w_k, cols, cols);
  const RowMajor v = input * ConstMap(w_v, cols, cols);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  std::vector<RowMajor> scores(heads);
  for (std::size_t h = 0; h < heads; ++h) {
    const Eigen::Index first = static_cast<Eigen::Index>(h) * head_dim;
    RowMajor& s = scores[h];
    s.noalias() = scale * q.middleCols(first, head_dim) * k.middleCols(first, head_dim).transpose();
    for (Eigen::Index i = 0; i < rows; ++i) {
      s.row(i) = (s.row(i).array() - s.row(i).maxCoeff()).exp();
      s.row(i) /= s.row(i).sum();
    }
  }
  RowMajor mixed(rows, cols);
  for (std::size_t h = 0; h < heads; ++h) {
    const Eigen::Index first = static_cast<Eigen::Index>(h) * head_dim;
    mixed.middleCols(first, head_dim).noalias() = scores[h] * v.middleCols(first, head_dim);
  }
  Eigen::Map<RowMajor>(out, rows, cols).noalias() = mixed * ConstMap(w_o, cols, cols);
}

}  // namespace halo::bench
