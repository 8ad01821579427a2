// Writes the files that the test suite reads for ever: one of each kind this version writes.
//
//   halo_make_committed <folder>
//
// Never write over a committed file: a new layout gets files of a new name beside the old ones.
#include <cstdio>
#include <filesystem>
#include <vector>

#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/train.h"
#include "integration/io/committed_vectors.h"

namespace halo::io::test {
namespace {

Engine plain(Metric metric, CodeKind codes) {
  BuildOptions build;
  build.metric = metric;
  build.M = 4;
  build.ef_construction = 20;
  build.codes = codes;
  build.deterministic = true;
  std::vector<Id> ids;
  for (std::size_t i = 0; i < kCommittedSize; ++i) ids.push_back(committed_id(i));
  return Engine::build(committed_vectors(), ids, build, Executor(1));
}

Engine refined() {
  gnn::RefineOptions options;
  options.window = 6;
  options.spectral_rank = 3;
  options.structure.kept = 16;
  return plain(Metric::kCosine, CodeKind::kF32).refined(options, Executor(1));
}

Engine trained() {
  const Engine engine = plain(Metric::kCosine, CodeKind::kF32);
  Matrix basis = Matrix::padded(2, kCommittedDim);
  for (std::size_t r = 0; r < 2; ++r) basis.row(r)[r] = 1;
  std::vector<std::uint32_t> labels;
  for (const Id id : engine.snapshot()->ids()) {
    labels.push_back(static_cast<std::uint32_t>((1000 - id) / 3) % kCommittedClasses);
  }
  const auto model = prepare_trained(
      *engine.snapshot(),
      {"pca", gnn::Projection(std::vector<float>(kCommittedDim), std::move(basis)), 10.0F}, labels,
      kCommittedClasses, Executor(1));
  return engine.with_trained(model->with_label_use(0.5F, 0.25F, 0.25F));
}

void write(const std::filesystem::path& folder) {
  plain(Metric::kL2, CodeKind::kF32).save(folder / "plain-l2.halo");
  plain(Metric::kInnerProduct, CodeKind::kBf16).save(folder / "plain-ip-bf16.halo");
  plain(Metric::kCosine, CodeKind::kInt8).save(folder / "plain-cosine-int8.halo");
  refined().save(folder / "refined.halo");
  trained().save(folder / "trained.halo");
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
