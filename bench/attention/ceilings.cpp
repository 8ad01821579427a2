// What this CPU can do at best: products of large matrices, and rows gathered without computing.
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/random.h"
#include "naive_eigen.h"
#include "neighbour_graph.h"
#include "passes.h"
#ifdef HALO_BENCH_ONEDNN
#include "onednn_peer.h"
#endif
#ifdef HALO_BENCH_OPENBLAS
#include "openblas_peer.h"
#endif

namespace halo::bench {
namespace {

constexpr std::size_t kRows = 2048, kDepth = 512, kColumns = 1536;
constexpr double kFlops = 2.0 * kRows * kDepth * kColumns;

Matrix normal(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  Matrix m(rows, cols);
  Random random(seed);
  for (std::size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(random.normal());
  return m;
}

template <class Multiply>
void product(benchmark::State& state, const Multiply& multiply) {
  const Matrix a = normal(kRows, kDepth, 1), b = normal(kDepth, kColumns, 2);
  Matrix out(kRows, kColumns);
  measure(state, kFlops, 0, [&]() -> Pass { return [&] { multiply(a, b, out); }; });
}

// One value of every cache line of the rows of k and v of every edge. One sum a line of a row: a
// single one would measure how long additions take.
template <class T>
void gather(benchmark::State& state, const T* k, const T* v, const CsrMask& mask) {
  constexpr std::size_t kWidth = 128, kLine = 64 / sizeof(T), kLines = kWidth / kLine;
  float sums[kLines] = {};
  measure(state, 0, static_cast<double>(mask.entries()), [&]() -> Pass {
    return [&, k, v] {
      for (const std::uint32_t j : mask.columns()) {
        for (std::size_t l = 0; l < kLines; ++l) {
          sums[l] += static_cast<float>(k[j * kWidth + l * kLine]) +
                     static_cast<float>(v[j * kWidth + l * kLine]);
        }
      }
      benchmark::DoNotOptimize(sums);
    };
  });
}

}  // namespace

void register_ceilings() {
  const auto own = [](const MatrixView& b) {
    return [packed = kernels::pack(b)](const MatrixView& a, const MatrixSpan& out) {
      static const Executor one(1);
      kernels::gemm(a, packed, out, one);
    };
  };
  add("ceiling/gemm/f32", [own](benchmark::State& s) {
    const Matrix b = normal(kDepth, kColumns, 2);
    product(s, [f = own(b)](const Matrix& a, const Matrix&, Matrix& out) { f(a, out); });
  });
  add("ceiling/gemm/bf16", [](benchmark::State& s) {
    const Executor one(1);
    const kernels::PackedHalfMatrix packed = kernels::pack_half(normal(kDepth, kColumns, 2));
    product(s, [&](const Matrix& a, const Matrix&, Matrix& out) { gemm(a, packed, out, one); });
  });
  add("ceiling/gemm_eigen/f32", [](benchmark::State& s) {
    product(s, [](const Matrix& a, const Matrix& b, Matrix& out) {
      naive_eigen_product(a.data(), b.data(), kRows, kDepth, kColumns, out.data());
    });
  });
#ifdef HALO_BENCH_OPENBLAS
  add("ceiling/gemm_openblas/f32", [](benchmark::State& s) {
    product(s, [](const Matrix& a, const Matrix& b, Matrix& out) {
      openblas_product(a.data(), b.data(), kRows, kDepth, kColumns, out.data());
    });
  });
#endif
#ifdef HALO_BENCH_ONEDNN
  for (const bool half : {false, true}) {
    add(half ? "ceiling/gemm_onednn/bf16" : "ceiling/gemm_onednn/f32", [half](benchmark::State& s) {
      const Matrix a = normal(kRows, kDepth, 1), b = normal(kDepth, kColumns, 2);
      Matrix out(kRows, kColumns);
      const auto multiply =
          onednn_product(a.data(), b.data(), kRows, kDepth, kColumns, half, out.data());
      if (!multiply) return s.SkipWithError("oneDNN has no such product on this CPU");
      measure(s, kFlops, 0, [&]() -> Pass { return multiply; });
    });
  }
#endif
  add("ceiling/gather/f32", [](benchmark::State& s) {
    const CsrMask mask = neighbour_graph();
    const Matrix k = normal(mask.rows(), 128, 1), v = normal(mask.rows(), 128, 2);
    gather(s, k.data(), v.data(), mask);
  });
  add("ceiling/gather/bf16", [](benchmark::State& s) {
    const CsrMask mask = neighbour_graph();
    const HalfMatrix k = HalfMatrix::rounded(normal(mask.rows(), 128, 1));
    const HalfMatrix v = HalfMatrix::rounded(normal(mask.rows(), 128, 2));
    gather(s, k.row(0), v.row(0), mask);
  });
}

}  // namespace halo::bench
