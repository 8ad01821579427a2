#include "halo/core/kernels/gemm.h"

#include <Eigen/Core>
#include <cassert>

namespace halo::kernels {
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

constexpr std::size_t kRowBlock = 256;

}  // namespace

void gemm(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows && out.rows == a.rows && out.cols == b.cols);
  executor.parallel_for(out.rows, kRowBlock, [&](std::size_t begin, std::size_t end) {
    map(out.sub_rows(begin, end - begin)).noalias() = map(a.sub_rows(begin, end - begin)) * map(b);
  });
}

void gemm_nt(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
             const Executor& executor) {
  assert(a.cols == b.cols && out.rows == a.rows && out.cols == b.rows);
  executor.parallel_for(out.rows, kRowBlock, [&](std::size_t begin, std::size_t end) {
    map(out.sub_rows(begin, end - begin)).noalias() =
        map(a.sub_rows(begin, end - begin)) * map(b).transpose();
  });
}

void gemm_tn(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
             const Executor& executor) {
  assert(a.rows == b.rows && out.rows == a.cols && out.cols == b.cols);
  executor.parallel_for(out.rows, kRowBlock, [&](std::size_t begin, std::size_t end) {
    map(out.sub_rows(begin, end - begin)).noalias() =
        map(a.sub_cols(begin, end - begin)).transpose() * map(b);
  });
}

}  // namespace halo::kernels
