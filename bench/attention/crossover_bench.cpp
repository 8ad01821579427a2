// Where one exact mechanism overtakes another: what the coefficients of attention/choose.cpp are
// fitted to. Prints nanoseconds a pair of positions, one head, one thread.
//
//   build/release/bench/attention/bench_attention_crossover
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>

#include "halo/attention/head_attention.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/random.h"

namespace {

using halo::Matrix;

Matrix random_matrix(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  halo::Random random(seed);
  Matrix m(rows, cols);
  for (std::size_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(random.normal());
  return m;
}

// Nanoseconds of one call: the best of several rounds of at least 20 ms.
double time_of(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e30;
  for (int round = 0; round < 4; ++round) {
    std::size_t calls = 0;
    const auto start = Clock::now();
    std::chrono::duration<double, std::nano> spent{};
    do {
      call();
      ++calls;
      spent = Clock::now() - start;
    } while (spent.count() < 2e7);
    best = std::min(best, spent.count() / static_cast<double>(calls));
  }
  return best;
}

}  // namespace

int main() {
  const halo::Executor one(1);
  std::printf("%6s %6s %10s %10s", "n", "d", "standard", "flash");
  const double densities[] = {0.02, 0.1, 0.25, 0.5, 0.75};
  for (const double density : densities) {
    std::printf(" csr@%.2f msk@%.2f", density, density);
  }
  std::printf("   (ns a pair)\n");
  for (const std::size_t d : {16U, 32U, 64U, 128U}) {
    for (const std::size_t n : {32U, 64U, 128U, 256U, 512U, 1024U}) {
      const Matrix q = random_matrix(n, d, 1), k = random_matrix(n, d, 2),
                   v = random_matrix(n, d, 3);
      Matrix out(n, d);
      const float scale = 1.0F / std::sqrt(static_cast<float>(d));
      const double pairs = static_cast<double>(n * n);
      std::printf("%6zu %6zu", n, d);
      std::printf(" %10.4f", time_of([&] {
                               halo::attention::standard_attention(q, k, v, scale, out, one);
                             }) / pairs);
      std::printf(" %10.4f", time_of([&] {
                               halo::attention::flash_attention(q, k, v, scale, out, {}, one);
                             }) / pairs);
      for (const double density : densities) {
        const halo::CsrMask mask = halo::attention::SparseMask::random(n, density, 7);
        std::printf(" %8.4f", time_of([&] {
                                halo::attention::csr_attention(q, k, v, mask, scale, out, one);
                              }) / pairs);
        std::printf(" %8.4f", time_of([&] {
                                halo::attention::masked_attention(q, k, v, mask, scale, out, one);
                              }) / pairs);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
  return 0;
}
