// The same bytes in the file, whatever the number of threads: of an index, of its refinement, of a
// trained model.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "halo/gnn/refinement_model.h"
#include "halo/index/live_index.h"
#include "halo/integration/engine.h"
#include "halo/integration/train.h"
#include "support/test_support.h"

namespace halo {
namespace {

constexpr std::size_t kDim = 16, kClusters = 12;
constexpr std::size_t kThreads[] = {1, 2, 5};

class Determinism : public ::testing::TestWithParam<Metric> {
 protected:
  static BuildOptions options() {
    BuildOptions build;
    build.metric = GetParam();
    build.M = 8;
    build.ef_construction = 60;
    build.deterministic = true;
    return build;
  }
  std::string saved(const Engine& engine) const {
    engine.save(folder_ / "index.halo");
    std::ifstream file(folder_ / "index.halo", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const test::TemporaryFolder folder_;
  Matrix data_ = test::clustered_matrix(1500, kDim, kClusters, 0.9F, 1);
};

TEST_P(Determinism, AnIndexAndItsRefinement) {
  std::string plain, refined;
  for (const std::size_t threads : kThreads) {
    const Executor executor(threads);
    const Engine engine = Engine::build(data_, {}, options(), executor);
    const std::string bytes = saved(engine), more = saved(engine.refined({}, executor));
    if (threads == 1) {
      plain = bytes;
      refined = more;
    }
    EXPECT_TRUE(bytes == plain) << threads << " threads";
    EXPECT_TRUE(more == refined) << threads << " threads";
  }
  EXPECT_GT(refined.size(), plain.size());
}

// Refining a graph that was built in parallel, which is another graph each time, is deterministic
// given the graph.
TEST_P(Determinism, TheRefinementOfAnyGraph) {
  BuildOptions build = options();
  build.deterministic = false;
  const Engine engine = Engine::build(data_, {}, build, Executor(4));
  std::string first;
  for (const std::size_t threads : kThreads) {
    const std::string bytes = saved(engine.refined({}, Executor(threads)));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << threads << " threads";
  }
}

TEST_P(Determinism, ALiveIndexSealed) {
  std::string first;
  for (const std::size_t threads : kThreads) {
    const Executor executor(threads);
    LiveOptions live;
    live.build = options();
    live.background = false;
    LiveIndex index(kDim, live);
    const auto add = [&](std::size_t begin, std::size_t count) {
      std::vector<Id> ids(count);
      for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<Id>(begin + i);
      index.add(data_.view().sub_rows(begin, count), ids);
    };
    add(0, 700);
    index.seal(executor);
    add(700, 300);
    index.remove(std::vector<Id>{3, 50, 701, 999});
    const std::string bytes = saved(Engine(index.seal(executor)));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << threads << " threads";
  }
}

// Classes differ in two dimensions; the others, louder, say nothing.
TEST_P(Determinism, ATrainedModel) {
  Matrix vectors = test::random_matrix(400, kDim, 2);
  for (std::size_t i = 0; i < vectors.rows(); ++i) {
    float* row = vectors.row(i);
    row[0] = 0.3F * row[0] + static_cast<float>(2 * (i % 4)) - 3.0F;
    row[1] = 0.3F * row[1] + (i % 4 < 2 ? 2.0F : -2.0F);
  }
  const Engine engine = Engine::build(vectors, {}, options(), Executor(1));
  TrainingData training;
  for (const Id id : engine.snapshot()->ids()) training.labels.push_back(id % 4);
  TrainOptions train_options;
  train_options.metric.steps = 40;
  train_options.metric.batch = 64;
  train_options.metric.rate = 1e-2F;
  train_options.candidates = 100;
  std::string first;
  for (const std::size_t threads : kThreads) {
    const TrainReport report = train(engine, training, train_options, Executor(threads));
    ASSERT_TRUE(report.accepted) << report.reason;
    const std::string bytes = saved(engine.with_trained(report.model));
    if (first.empty()) first = bytes;
    EXPECT_TRUE(bytes == first) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Metrics, Determinism,
                         ::testing::Values(Metric::kL2, Metric::kInnerProduct, Metric::kCosine),
                         [](const auto& test) { return std::string(metric_name(test.param)); });

}  // namespace
}  // namespace halo
