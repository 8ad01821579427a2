// A program outside halo's tree: builds an index, refines it, saves and loads it, and sees an
// error.
#include <cstdio>
#include <utility>
#include <vector>

#include "halo/halo.h"

static_assert(HALO_VERSION >= HALO_VERSION_NUMBER(0, 1, 0));

int main() {
  constexpr std::size_t kRows = 400, kDim = 8;
  halo::Matrix vectors(kRows, kDim);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t d = 0; d < kDim; ++d) {
      vectors.row(i)[d] =
          static_cast<float>((i * 7919 + d * 104729) % 1009) + (i % 8 == d ? 2000.F : 0.F);
    }
  }
  const halo::Executor executor(1);
  const auto engine = halo::Engine::build(vectors, {}, {.metric = halo::Metric::kCosine}, executor)
                          .refined({}, executor);
  engine.save("outside.halo");
  const auto loaded = halo::Engine::load("outside.halo");
  // Refinement may put a near twin first; plain search may not.
  for (const auto& [mode, least] : {std::pair(halo::RefineMode::kOff, kRows * 99 / 100),
                                    std::pair(halo::RefineMode::kAuto, kRows * 3 / 4)}) {
    const auto results = loaded.search(vectors, {.k = 1, .refine = mode}, executor);
    std::size_t found = 0;
    for (std::size_t i = 0; i < kRows; ++i)
      found += results.ids[i] == static_cast<halo::Id>(i) ? 1 : 0;
    if (found < least) {
      std::printf("only %zu of %zu vectors found themselves\n", found, kRows);
      return 1;
    }
  }
  try {
    engine.search(vectors.view().sub_cols(0, 3), {}, executor);
  } catch (const halo::Error& error) {
    return error.code() == halo::ErrorCode::kDimensionMismatch ? 0 : 1;
  }
  return 1;
}
