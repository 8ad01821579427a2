#include "halo/core/kernels/gemm_reference.h"

#include <Eigen/Core>

namespace halo::kernels::reference {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMajor, 0, Eigen::OuterStride<>>;
using Map = Eigen::Map<RowMajor, 0, Eigen::OuterStride<>>;

ConstMap map(const MatrixView& m) {
  return {m.data, static_cast<Eigen::Index>(m.rows), static_cast<Eigen::Index>(m.cols),
          Eigen::OuterStride<>(static_cast<Eigen::Index>(m.stride))};
}
Map map(const MatrixSpan& m) {
  return {m.data, static_cast<Eigen::Index>(m.rows), static_cast<Eigen::Index>(m.cols),
          Eigen::OuterStride<>(static_cast<Eigen::Index>(m.stride))};
}

}  // namespace

void gemm(const MatrixView& a, const MatrixView& b, const MatrixSpan& out) {
  map(out).noalias() = map(a) * map(b);
}
void gemm_nt(const MatrixView& a, const MatrixView& b, const MatrixSpan& out) {
  map(out).noalias() = map(a) * map(b).transpose();
}
void gemm_tn(const MatrixView& a, const MatrixView& b, const MatrixSpan& out) {
  map(out).noalias() = map(a).transpose() * map(b);
}

}  // namespace halo::kernels::reference
