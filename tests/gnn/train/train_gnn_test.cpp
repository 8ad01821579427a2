#include "halo/gnn/train/train_gnn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRows = 120, kDim = 12, kStride = 8;

// Four classes in noise, exact windows, every tenth node global in the upper layer.
struct Graph {
  Graph() : view(test::random_matrix(kRows, kDim, 1)), weights(kDim, kDim) {
    for (std::size_t i = 0; i < kDim; ++i) weights.row(i)[i] = 1.0F;
    for (std::uint32_t i = 0; i < kRows; ++i) {
      view.row(i)[i % 4] += 1.5F;
      kernels::normalise(view.row(i), kDim);
      examples.push_back({i, i % 4});
      if (i % 10 == 0) global.push_back(i);
    }
    for (std::size_t i = 0; i < kRows; ++i) {
      std::vector<std::pair<float, std::uint32_t>> row;
      for (std::uint32_t j = 0; j < kRows; ++j) {
        if (j != i) row.emplace_back(-kernels::dot(view.row(i), view.row(j), kDim), j);
      }
      std::sort(row.begin(), row.end());
      for (std::size_t e = 0; e < kStride; ++e) windows.push_back(row[e].second);
    }
    windows[kStride - 1] = windows[kStride - 2] = 0xffffffffU;  // a shorter window
    layers = {{global.begin(), global.end()}, {}};
  }
  GnnStart start() const {
    GnnStart start{view, weights, 8.0F, windows, kStride, {}};
    start.global_nodes = [this](std::size_t t) {
      return t == 0 ? std::span<const std::uint32_t>(global) : std::span<const std::uint32_t>();
    };
    return start;
  }
  Matrix view, weights;
  std::vector<Example> examples;
  std::vector<std::uint32_t> windows, global;
  std::vector<std::vector<std::uint32_t>> layers;
};

GnnTrainOptions fast() {
  GnnTrainOptions options;
  options.steps = 24;
  options.check_every = 6;
  options.batch = 32;
  options.most_nodes = 80;
  options.heads = 3;
  options.rate = 5e-3F;
  return options;
}

bool same(const LearnedGnn& a, const LearnedGnn& b) {
  const auto equal = [](const MatrixView& x, const MatrixView& y) {
    bool all = x.rows == y.rows && x.cols == y.cols;
    for (std::size_t i = 0; all && i < x.rows; ++i) {
      all = std::memcmp(x.row(i), y.row(i), x.cols * sizeof(float)) == 0;
    }
    return all;
  };
  const auto p = a.model.named_parameters(), q = b.model.named_parameters();
  bool all = equal(a.weights, b.weights) && a.scale == b.scale && a.losses == b.losses &&
             a.best_step == b.best_step && p.size() == q.size();
  for (std::size_t i = 0; all && i < p.size(); ++i) all = equal(p[i].value, q[i].value);
  return all;
}

TEST(TrainGnn, TheLossFallsAndTheGateLeavesZero) {
  const Graph g;
  const LearnedGnn learned = train_gnn(g.start(), g.examples, fast(), Executor(2));
  ASSERT_EQ(learned.losses.size(), 24U);
  const double before = std::accumulate(learned.losses.begin(), learned.losses.begin() + 4, 0.0);
  const double after = std::accumulate(learned.losses.end() - 4, learned.losses.end(), 0.0);
  EXPECT_LT(after, 0.9 * before);
  EXPECT_EQ(learned.shape.heads, 3U);
  for (const auto& parameter : learned.model.named_parameters()) {
    const float* row = parameter.value.row(0);
    const bool moved = std::any_of(row, row + parameter.value.cols, [](float v) { return v != 0; });
    // Only the first layer has global nodes.
    EXPECT_EQ(moved, parameter.name != "layers.1.gate") << parameter.name;
  }
}

TEST(TrainGnn, SameBytesAtAnyThreadCountAndAfterAnyInterruption) {
  const Graph g;
  const auto validate = [&](const Matrix& weights, const GnnModel&) {
    return static_cast<double>(weights.row(0)[0]);
  };
  std::vector<LoopState> states;
  Checkpointing keep;
  keep.save = [&](const LoopState& state) { states.push_back(copy_of(state)); };
  const LearnedGnn whole =
      train_gnn(g.start(), g.examples, fast(), Executor(1), {}, validate, keep);
  EXPECT_TRUE(same(whole, train_gnn(g.start(), g.examples, fast(), Executor(3), {}, validate)));
  ASSERT_GE(states.size(), 2U);
  for (const LoopState& state : states) {
    Checkpointing from;
    from.from = &state;
    EXPECT_TRUE(
        same(whole, train_gnn(g.start(), g.examples, fast(), Executor(2), {}, validate, from)))
        << "from step " << state.step;
  }
  GnnTrainOptions other = fast();
  other.layers = 1;
  Checkpointing from;
  from.from = &states.front();
  test::expect_error(ErrorCode::kModelMismatch, "another training", [&] {
    (void)train_gnn(g.start(), g.examples, other, Executor(1), {}, validate, from);
  });
}

TEST(TrainGnn, TheBestCheckIsKeptAndAStopIsObeyed) {
  const Graph g;
  int checks = 0;  // the second check is the best: two worse ones end it
  const LearnedGnn learned =
      train_gnn(g.start(), g.examples, fast(), Executor(1), {},
                [&](const Matrix&, const GnnModel&) { return checks++ == 1 ? 1.0 : 0.5; });
  EXPECT_EQ(learned.best_step, 6U);
  EXPECT_EQ(learned.losses.size(), 18U);
  std::stop_source stop;
  stop.request_stop();
  test::expect_error(ErrorCode::kCancelled, "", [&] {
    (void)train_gnn(g.start(), g.examples, fast(), Executor(1), Job{nullptr, stop.get_token()});
  });
}

// A query with a node's window and state becomes what the model makes of the node.
TEST(GnnQuery, IsTheModelsRow) {
  const Graph g;
  const LearnedGnn learned = train_gnn(g.start(), g.examples, fast(), Executor(2));
  std::vector<Matrix> states;
  run_gnn(
      Matrix::copy_of(g.view), learned.model, g.windows, kStride, 6, g.start().global_nodes,
      [&](std::size_t, const MatrixView& state) { states.push_back(Matrix::copy_of(state)); },
      Executor(2));
  ASSERT_EQ(states.size(), 3U);
  const GnnQuery query(learned.model, learned.shape);
  GnnQuery::Scratch scratch;
  for (const std::size_t node : {0U, 7U, 119U}) {
    std::vector<float> x(states[0].row(node), states[0].row(node) + kDim);
    for (std::size_t t = 0; t < 2; ++t) {
      Matrix window(6, kDim), globals(t == 0 ? g.global.size() : 0, kDim);
      for (std::size_t e = 0; e < 6; ++e) {
        std::copy_n(states[t].row(g.windows[node * kStride + e]), kDim, window.row(e));
      }
      for (std::size_t e = 0; e < globals.rows(); ++e) {
        std::copy_n(states[t].row(g.global[e]), kDim, globals.row(e));
      }
      query.forward(t, x, window, globals, scratch);
    }
    for (std::size_t c = 0; c < kDim; ++c) EXPECT_NEAR(x[c], states[2].row(node)[c], 1e-5);
  }
}

TEST(GnnQuery, RefusesOtherShapes) {
  test::expect_error(ErrorCode::kInvalidArgument, "divide", [] { (void)make_gnn(10, {2, 4, 1}); });
  test::expect_error(ErrorCode::kInvalidArgument, "another shape", [] {
    (void)GnnQuery(make_gnn(12, {2, 4, 1}), {3, 4, 1});
  });
  const Graph g;
  GnnTrainOptions options;
  options.most_nodes = 10;
  test::expect_error(ErrorCode::kInvalidArgument, "most_nodes", [&] { options.validate(); });
  GnnStart start = g.start();
  start.stride = 3;
  test::expect_error(ErrorCode::kDimensionMismatch, "windows",
                     [&] { (void)train_gnn(start, g.examples, fast(), Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
