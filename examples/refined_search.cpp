// Builds an index, prepares refinement, asks it: what a retrieval service does.
#include <cstdio>

#include "halo/core/random.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"

int main() {
  halo::Matrix vectors(5000, 64);  // your vectors: one a row
  for (std::size_t i = 0; i < vectors.rows(); ++i) {
    halo::Random centre(1, i % 50), noise(2, i);
    for (std::size_t d = 0; d < 64; ++d) {
      vectors.row(i)[d] = static_cast<float>(centre.normal() + noise.normal());
    }
  }
  try {
    const halo::Executor executor;  // all cores; pass your own thread count
    const auto plain =
        halo::Engine::build(vectors, {}, {.metric = halo::Metric::kCosine}, executor);
    const auto engine = plain.refined({}, executor);
    const auto results = engine.search(vectors.view().sub_rows(0, 100),
                                       {.k = 5, .refine = halo::RefineMode::kAuto}, executor);
    for (std::size_t i = 0; i < 5; ++i) {
      std::printf("id %lld, score %.3f\n", static_cast<long long>(results.ids[i]),
                  static_cast<double>(results.scores[i]));
    }
    engine.save("refined.halo");
  } catch (const halo::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
