// A program outside halo's tree that builds an index and searches it.
#include <cstdio>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_index.h"

int main() {
  constexpr std::size_t kRows = 50;
  constexpr std::size_t kDim = 3;
  std::vector<float> values;
  for (std::size_t i = 0; i < kRows; ++i) {
    const auto x = static_cast<float>(i);
    values.insert(values.end(), {x, 0.5F * x, 1.0F});
  }
  const halo::MatrixView vectors(values.data(), kRows, kDim);

  const halo::Executor executor(1);
  halo::VectorIndex index(kDim, halo::BuildOptions{});
  index.add(vectors, executor);
  const auto snapshot = index.seal(executor);

  halo::SearchOptions options;
  options.k = 1;
  const auto results = halo::search_batch(*snapshot, vectors, options, executor);
  for (std::size_t i = 0; i < kRows; ++i) {
    if (snapshot->id(results.of(i)[0].node) != static_cast<halo::Id>(i)) {
      std::printf("vector %zu is not its own nearest neighbour\n", i);
      return 1;
    }
  }
  return 0;
}
