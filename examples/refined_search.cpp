// Builds an index, prepares refinement, asks it: what a retrieval service does.
#include <iostream>

#include "halo/halo.h"

int main() try {
  halo::Matrix vectors(5000, 64);  // your vectors: one a row
  for (std::size_t i = 0; i < vectors.rows(); ++i) {
    halo::Random centre(1, i % 50), noise(2, i);
    for (float& x : vectors.span().row_span(i)) {
      x = static_cast<float>(centre.normal() + noise.normal());
    }
  }
  const halo::Executor executor;  // all cores; pass your own thread count
  const auto plain = halo::Engine::build(vectors, {}, {.metric = halo::Metric::kCosine}, executor);
  const auto engine = plain.refined({}, executor);
  const halo::QueryOptions options = {.k = 5, .refine = halo::RefineMode::kAuto};
  const auto results = engine.search(vectors.view().sub_rows(0, 100), options, executor);
  for (std::size_t i = 0; i < results.k; ++i) {
    std::cout << "id " << results.ids[i] << ", score " << results.scores[i] << '\n';
  }
  engine.save("refined.halo");
} catch (const halo::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
