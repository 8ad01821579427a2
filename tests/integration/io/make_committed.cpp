// Writes the files that the test suite reads for ever: one of each kind this version writes.
//
//   halo_make_committed <folder>
//
// Never write over a committed file: a new layout gets files of a new name beside the old ones.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "halo/gnn/fusion.h"
#include "halo/gnn/gnn_query.h"
#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/train.h"
#include "integration/io/committed_vectors.h"

namespace halo::io::test {
namespace {

Engine plain(Metric metric, CodeKind codes, std::optional<CodeKind> stored = std::nullopt) {
  BuildOptions build;
  build.metric = metric;
  build.M = 4;
  build.ef_construction = 20;
  build.codes = codes;
  build.stored = stored;
  build.deterministic = true;
  std::vector<Id> ids;
  for (std::size_t i = 0; i < kCommittedSize; ++i) ids.push_back(committed_id(i));
  const float scale = stored == CodeKind::kInt8 ? kCommittedWhole : 1.0F;
  return Engine::build(committed_vectors(scale), ids, build, Executor(1));
}

Engine refined() {
  gnn::RefineOptions options;
  options.window = 6;
  options.spectral_rank = 3;
  options.structure.kept = 16;
  return plain(Metric::kCosine, CodeKind::kF32).refined(options, Executor(1));
}

Engine fused() {
  const Engine engine = refined();
  gnn::Fusion fusion;
  for (const auto& head : engine.model()->parts().heads) fusion.heads.push_back(head.name);
  fusion.weights = gnn::label_free_weights(*engine.model(), 1);
  return engine.with_fusion(std::make_shared<const gnn::Fusion>(fusion));
}

Matrix first_axes(std::size_t count) {
  Matrix basis = Matrix::padded(count, kCommittedDim);
  for (std::size_t r = 0; r < count; ++r) basis.row(r)[r] = 1;
  return basis;
}

Engine trained() {
  const Engine engine = plain(Metric::kCosine, CodeKind::kF32);
  std::vector<std::uint32_t> labels;
  for (const Id id : engine.snapshot()->ids()) {
    labels.push_back(static_cast<std::uint32_t>((1000 - id) / 3) % kCommittedClasses);
  }
  const auto model = prepare_trained(
      *engine.snapshot(),
      {"pca", gnn::Projection(std::vector<float>(kCommittedDim), first_axes(2)), 10.0F}, labels,
      kCommittedClasses, Executor(1));
  return engine.with_trained(model->with_label_use(0.5F, 0.25F, 0.25F));
}

Engine trained_gnn() {
  const Engine engine = plain(Metric::kCosine, CodeKind::kF32);
  const gnn::GnnShape shape{1, 2, 10.0F};
  const auto layers = std::make_shared<const gnn::GnnQuery>(gnn::make_gnn(4, shape), shape);
  return engine.with_trained(prepare_trained(
      *engine.snapshot(),
      {"gnn", gnn::Projection(std::vector<float>(kCommittedDim), first_axes(4)), 10.0F, layers, 6},
      {}, 0, Executor(1)));
}

void write(const std::filesystem::path& folder) {
  plain(Metric::kL2, CodeKind::kF32).save(folder / "plain-l2.halo");
  plain(Metric::kInnerProduct, CodeKind::kBf16).save(folder / "plain-ip-bf16.halo");
  plain(Metric::kCosine, CodeKind::kInt8).save(folder / "plain-cosine-int8.halo");
  refined().save(folder / "refined.halo");
  trained().save(folder / "trained-shares.halo");
  plain(Metric::kL2, CodeKind::kF32, CodeKind::kF16).save(folder / "stored-f16.halo");
  plain(Metric::kL2, CodeKind::kF32, CodeKind::kBf16).save(folder / "stored-bf16.halo");
  plain(Metric::kL2, CodeKind::kInt8, CodeKind::kInt8).save(folder / "stored-bytes.halo");
  fused().save(folder / "fusion.halo");
  trained_gnn().save(folder / "trained-gnn.halo");
}

}  // namespace
}  // namespace halo::io::test

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s <folder>\n", arguments[0]);
    return 2;
  }
  halo::io::test::write(arguments[1]);
}
