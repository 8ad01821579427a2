// Memory that runs out, and the memory limit, at the engine: what was refused left nothing behind,
// and can be done afterwards.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <optional>

#include "halo/core/csr_mask.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/memory_estimate.h"
#include "halo/integration/engine.h"
#include "halo/integration/refine.h"
#include "support/failing_allocator.h"
#include "support/test_support.h"

namespace halo {
namespace {

using test::expect_error;
using test::fail_each_allocation;

constexpr std::size_t kDim = 8;

BuildOptions build_options(Metric metric) {
  BuildOptions options;
  options.metric = metric;
  options.M = 4;
  options.ef_construction = 20;
  options.deterministic = true;
  return options;
}

gnn::RefineOptions refine_options() {
  gnn::RefineOptions options;
  options.window = 6;
  options.centred_rank = options.spectral_rank = options.whitened_rank = 8;
  options.structure.window = 6;
  options.structure.kept = 16;
  options.structure.breadth = 24;
  options.structure.steps = 2;
  return options;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class EngineFaults : public ::testing::Test {
 protected:
  std::string saved(const Engine& engine) const {
    engine.save(folder_ / "saved.halo");
    return bytes_of(folder_ / "saved.halo");
  }

  const Executor executor_{1};
  const test::TemporaryFolder folder_;
  Matrix data_ = test::clustered_matrix(90, kDim, 5, 0.6F, 1);
  Matrix queries_ = test::clustered_matrix(60, kDim, 5, 0.6F, 2);
  const Engine plain_ = Engine::build(data_, {}, build_options(Metric::kCosine), executor_);
  const Engine refined_ = plain_.refined(refine_options(), executor_);
};

// The allocations of an index are tried one by one in tests/index/faults_test.cpp.
TEST_F(EngineFaults, Build) {
  std::optional<Engine> built;
  const std::size_t refused = fail_each_allocation(
      [] {},
      [&] { built.emplace(Engine::build(data_, {}, build_options(Metric::kCosine), executor_)); },
      [] {}, {7});
  EXPECT_GT(refused, 20U);
  EXPECT_EQ(saved(*built), saved(plain_));
}

TEST_F(EngineFaults, Refined) {
  const std::string before = saved(plain_), expected = saved(refined_);
  std::optional<Engine> made;
  const std::size_t refused = fail_each_allocation(
      [] {}, [&] { made.emplace(plain_.refined(refine_options(), executor_)); }, [] {}, {11});
  EXPECT_GT(refused, 30U);
  EXPECT_EQ(saved(plain_), before);
  EXPECT_EQ(saved(*made), expected);
}

TEST_F(EngineFaults, Search) {
  for (const RefineMode mode : {RefineMode::kOff, RefineMode::kAuto}) {
    QueryOptions options;
    options.k = 5;
    options.candidates = 30;
    options.refine = mode;
    const BatchResults expected = refined_.search(queries_, options, executor_);
    BatchResults results;
    const std::size_t refused = fail_each_allocation(
        [] {}, [&] { results = refined_.search(queries_, options, executor_); }, [] {});
    EXPECT_GT(refused, 20U);
    EXPECT_EQ(results.ids, expected.ids);
    EXPECT_EQ(results.scores, expected.scores);
  }
}

// Of an index without a model: nlohmann's JSON, in which a model's manifest is written, needs
// memory in its destructors and ends the process where there is none.
TEST_F(EngineFaults, SaveAndLoad) {
  const auto path = folder_ / "index.halo";
  const Engine other =
      Engine::build(data_.view().sub_rows(0, 50), {}, build_options(Metric::kCosine), executor_);
  other.save(path);
  const std::string before = bytes_of(path);
  EXPECT_GT(fail_each_allocation([&] { other.save(path); }, [&] { plain_.save(path); },
                                 [&] { EXPECT_EQ(bytes_of(path), before); }),
            10U);
  plain_.save(path);
  const std::string whole = bytes_of(path);
  std::optional<Engine> loaded;
  EXPECT_GT(fail_each_allocation([] {}, [&] { loaded.emplace(Engine::load(path)); },
                                 [&] { EXPECT_EQ(bytes_of(path), whole); }),
            30U);
  EXPECT_EQ(saved(*loaded), whole);
}

// Masks know no files and no ids: std::bad_alloc may come through, and nothing stays behind.
TEST_F(EngineFaults, Masks) {
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs{{0, 3}, {2, 1}, {2, 4}, {4, 0}};
  const CsrMask whole = CsrMask::from_pairs(5, 5, pairs);
  const CsrMask other = CsrMask::from_rows({{1}, {}, {0, 4}, {3}, {}}, 5);
  CsrMask mask;
  const test::FailEach untyped{1, false};
  EXPECT_GT(
      fail_each_allocation([] {}, [&] { mask = CsrMask::from_pairs(5, 5, pairs); }, [] {}, untyped),
      2U);
  EXPECT_EQ(mask, whole);
  EXPECT_GT(fail_each_allocation([] {}, [&] { mask = whole.transposed(); }, [] {}, untyped), 1U);
  EXPECT_EQ(mask.transposed(), whole);
  EXPECT_GT(
      fail_each_allocation([] {}, [&] { mask = CsrMask::union_of(whole, other); }, [] {}, untyped),
      1U);
  EXPECT_EQ(mask, CsrMask::union_of(other, whole));
}

TEST_F(EngineFaults, TheMemoryLimitOfBuilding) {
  const Matrix data = test::clustered_matrix(6000, 64, 30, 0.7F, 3);
  BuildOptions options = build_options(Metric::kL2);
  options.memory_limit = estimate_growth(0, 0, 5999, 64, options);
  expect_error(ErrorCode::kMemoryLimit, "the limit is",
               [&] { Engine::build(data, {}, options, executor_); });
  const test::MeasuredMemory memory;
  const Engine engine = Engine::build(data.view().sub_rows(0, 5999), {}, options, executor_);
  EXPECT_LE(memory.peak(), options.memory_limit);
}

TEST_F(EngineFaults, TheMemoryLimitOfRefining) {
  for (const std::size_t dim : {16U, 48U, 130U}) {
    for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
      const Matrix data = test::clustered_matrix(2500, dim, 40, 0.8F, dim);
      const Engine engine = Engine::build(data, {}, build_options(metric), executor_);
      gnn::RefineOptions options;
      const std::size_t bound = estimate_refinement(*engine.snapshot(), options);
      options.memory_limit = bound - 1;
      expect_error(ErrorCode::kMemoryLimit, "preparing refinement would take up to",
                   [&] { engine.refined(options, executor_); });
      options.memory_limit = bound;
      const test::MeasuredMemory memory;
      const Engine refined = engine.refined(options, executor_);
      EXPECT_LE(memory.peak(), bound) << dim << " " << metric_name(metric);
      // A bound that says anything.
      EXPECT_GE(4 * memory.peak(), bound) << dim << " " << metric_name(metric);
    }
  }
}

}  // namespace
}  // namespace halo
