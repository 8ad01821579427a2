#include "fuzz/small_engine.h"

#include <cstdint>
#include <vector>

#include "halo/core/random.h"
#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/train.h"

namespace halo::fuzz {

Matrix small_vectors() {
  Matrix vectors(kSmallSize, kSmallDim);
  for (std::size_t i = 0; i < kSmallSize; ++i) {
    Random centre(1, i % kSmallClasses), noise(2, i);
    for (std::size_t d = 0; d < kSmallDim; ++d) {
      vectors.row(i)[d] =
          static_cast<float>(3 * centre.normal()) + static_cast<float>(noise.normal());
    }
  }
  return vectors;
}

const Engine& small_engine() {
  static const Engine kEngine = [] {
    const Executor executor(1);
    BuildOptions build;
    build.M = 4;
    build.ef_construction = 20;
    gnn::RefineOptions refine;
    refine.spectral_rank = 3;
    refine.window = 6;
    refine.structure.kept = 16;
    const Engine refined =
        Engine::build(small_vectors(), {}, build, executor).refined(refine, executor);
    Matrix basis = Matrix::padded(2, kSmallDim);
    for (std::size_t r = 0; r < 2; ++r) basis.row(r)[r] = 1;
    std::vector<std::uint32_t> labels(kSmallSize);
    for (std::uint32_t i = 0; i < kSmallSize; ++i)
      labels[i] = static_cast<std::uint32_t>(i % kSmallClasses);
    const auto trained = prepare_trained(
        *refined.snapshot(),
        {"pca", gnn::Projection(std::vector<float>(kSmallDim, 0.0F), std::move(basis)), 10.0F},
        labels, kSmallClasses, executor);
    return refined.with_trained(trained->with_label_use(0.5F, 0.25F, 0.25F));
  }();
  return kEngine;
}

}  // namespace halo::fuzz
