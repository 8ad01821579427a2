#include "halo/gnn/train/train_metric.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stop_token>
#include <vector>

#include "halo/core/kernels/distance_reference.h"
#include "halo/core/kernels/vector_ops.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

Matrix unit_rows(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  Matrix x = halo::test::random_matrix(rows, cols, seed);
  for (std::size_t i = 0; i < rows; ++i) kernels::normalise(x.row(i), cols);
  return x;
}

// Groups differ in the first two dimensions; the others, louder, say nothing.
struct Task {
  Matrix view;
  std::vector<Example> examples;
};
Task task(std::size_t rows, std::uint64_t seed) {
  Task made{halo::test::random_matrix(rows, 12, seed), {}};
  for (std::uint32_t i = 0; i < rows; ++i) {
    const std::uint32_t group = i % 4;
    made.view.row(i)[0] = 0.3F * made.view.row(i)[0] + (group % 2 == 0 ? 1.5F : -1.5F);
    made.view.row(i)[1] = 0.3F * made.view.row(i)[1] + (group / 2 == 0 ? 1.5F : -1.5F);
    for (std::size_t d = 2; d < 12; ++d) made.view.row(i)[d] *= 1.5F;
    kernels::normalise(made.view.row(i), 12);
    made.examples.push_back({i, group});
  }
  return made;
}

// Share of rows whose nearest other row is of their group, under y = norm(W x).
double nearest_agrees(const Matrix& weights, const Task& of) {
  const Projection metric(std::vector<float>(12, 0.0F), Matrix::copy_of(weights));
  Matrix y(of.view.rows(), 12);
  metric.apply(of.view, y, Executor(1));
  const auto cosine = [&](std::size_t i, std::size_t j) {
    return kernels::reference::dot(y.row(i), y.row(j), 12);
  };
  double agree = 0;
  for (std::size_t i = 0; i < y.rows(); ++i) {
    std::size_t best = i == 0 ? 1 : 0;
    for (std::size_t j = 0; j < y.rows(); ++j) {
      if (j != i && cosine(i, j) > cosine(i, best)) best = j;
    }
    agree += of.examples[i].group == of.examples[best].group;
  }
  return agree / static_cast<double>(y.rows());
}

Matrix identity() {
  Matrix weights(12, 12);
  for (std::size_t i = 0; i < 12; ++i) weights.row(i)[i] = 1.0F;
  return weights;
}

TEST(MetricGradient, MatchesFiniteDifferences) {
  const Matrix rows = unit_rows(9, 5, 1);
  Matrix weights = halo::test::random_matrix(5, 5, 2), gradient(5, 5), unused(5, 5);
  const std::vector<std::uint32_t> groups = {0, 1, 0, 2, 1, 0, 3, 1, 2};
  const auto loss = [&](float log_scale) {
    return metric_gradient(rows, groups, weights, log_scale, 0.5F, unused, Executor(1)).loss;
  };
  const auto result = metric_gradient(rows, groups, weights, 0.8F, 0.5F, gradient, Executor(2));
  EXPECT_NEAR(result.d_log_scale, (loss(0.81F) - loss(0.79F)) / 0.02, 1e-3);
  for (std::size_t i = 0; i < 5; ++i) {
    for (std::size_t j = 0; j < 5; ++j) {
      const float kept = weights.row(i)[j];
      weights.row(i)[j] = kept + 1e-2F;
      const double above = loss(0.8F);
      weights.row(i)[j] = kept - 1e-2F;
      const double below = loss(0.8F);
      weights.row(i)[j] = kept;
      EXPECT_NEAR(gradient.row(i)[j], (above - below) / 2e-2, 2e-3) << i << " " << j;
    }
  }
}

TEST(TrainMetric, HelpsOnRowsItHasNotSeen) {
  const Task training = task(400, 1), unseen = task(200, 2);
  MetricOptions options;
  options.batch = 128;
  options.steps = 120;
  options.rate = 2e-2F;
  const LearnedMetric learned =
      train_metric(training.view, training.examples, options, Executor(2));
  EXPECT_GT(nearest_agrees(learned.weights, unseen), nearest_agrees(identity(), unseen) + 0.05);
  EXPECT_LT(learned.losses.back(), learned.losses.front());
  EXPECT_EQ(learned.losses.size(), 120U);
  EXPECT_GT(learned.scale, 0.0F);
}

TEST(TrainMetric, SameBytesAtAnyThreadCountAndAnotherSeedLearnsOtherwise) {
  const Task training = task(300, 1);
  MetricOptions options;
  options.steps = 20;
  options.batch = 64;
  const auto run = [&](std::size_t threads) {
    return train_metric(training.view, training.examples, options, Executor(threads));
  };
  const LearnedMetric one = run(1), two = run(2);
  EXPECT_EQ(one.losses, two.losses);
  EXPECT_EQ(std::memcmp(one.weights.data(), two.weights.data(), 144 * sizeof(float)), 0);
  options.seed = 9;
  EXPECT_NE(run(1).losses, one.losses);
}

TEST(TrainMetric, KeepsTheBestCheckAndStopsEarly) {
  const Task training = task(200, 1);
  MetricOptions options;
  options.steps = 200;
  options.batch = 32;
  options.check_every = 10;
  std::size_t calls = 0;
  const double scores[] = {0.1, 0.5, 0.3, 0.3, 0.2, 0.9};
  const LearnedMetric learned = train_metric(training.view, training.examples, options, Executor(1),
                                             {}, [&](const Matrix&) { return scores[calls++]; });
  EXPECT_EQ(calls, 5U);  // I, the best, and three without gain
  EXPECT_EQ(learned.best_step, 10U);
  EXPECT_EQ(learned.losses.size(), 40U);
}

TEST(TrainMetric, RefusesWhatItCannotLearnFrom) {
  const Matrix view = unit_rows(4, 3, 1);
  const std::vector<Example> alone = {{0, 0}, {1, 1}}, outside = {{0, 0}, {9, 0}};
  halo::test::expect_error(ErrorCode::kEmpty, "two examples",
                           [&] { train_metric(view, alone, {}, Executor(1)); });
  halo::test::expect_error(ErrorCode::kInvalidArgument, "row 9",
                           [&] { train_metric(view, outside, {}, Executor(1)); });
  std::stop_source stop;
  stop.request_stop();
  const std::vector<Example> pair = {{0, 0}, {1, 0}};
  halo::test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
    train_metric(view, pair, {}, Executor(1), Job{nullptr, stop.get_token()});
  });
  MetricOptions options;
  options.batch = 3;
  halo::test::expect_error(ErrorCode::kInvalidArgument, "batch", [&] { options.validate(); });
}

TEST(Whitening, DampsDirectionsInWhichAGroupSpreads) {
  // Members of a group differ along dimension 0 alone.
  Matrix view(40, 3);
  std::vector<Example> examples;
  for (std::uint32_t i = 0; i < 40; ++i) {
    view.row(i)[0] = static_cast<float>(i / 4) - 4.5F;
    view.row(i)[1 + i % 2] = 1.0F;
    examples.push_back({i, i % 4});
  }
  const Matrix weights = within_group_whitening(view, examples, {}, Executor(1));
  EXPECT_LT(weights.row(0)[0], 0.6F * weights.row(1)[1]);
  EXPECT_NEAR(weights.row(0)[1], weights.row(1)[0], 1e-5);
  WhiteningOptions off;
  off.exponent = 0;
  const Matrix none = within_group_whitening(view, examples, off, Executor(1));
  EXPECT_NEAR(none.row(0)[0], 1.0F, 1e-5);
  EXPECT_NEAR(none.row(0)[1], 0.0F, 1e-5);
  const std::vector<Example> alone = {{0, 0}, {1, 1}};
  halo::test::expect_error(ErrorCode::kEmpty, "two examples",
                           [&] { within_group_whitening(view, alone, {}, Executor(1)); });
  off.shrinkage = 0;
  halo::test::expect_error(ErrorCode::kInvalidArgument, "shrinkage",
                           [&] { within_group_whitening(view, examples, off, Executor(1)); });
}

TEST(Compose, AppliesTheViewThenTheMetric) {
  const Matrix x = halo::test::random_matrix(20, 6, 1);
  const Matrix weights = halo::test::random_matrix(4, 4, 2);
  const Projection view(std::vector<float>(6, 0.5F), halo::test::random_matrix(4, 6, 3));
  const Projection whole = compose(weights, view, Executor(1));
  const Projection metric(std::vector<float>(4, 0.0F), Matrix::copy_of(weights));
  Matrix in_view(20, 4), twice(20, 4), once(20, 4);
  view.apply(x, in_view, Executor(1));
  metric.apply(in_view, twice, Executor(1));
  whole.apply(x, once, Executor(1));
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t d = 0; d < 4; ++d) EXPECT_NEAR(once.row(i)[d], twice.row(i)[d], 1e-5);
  }
  halo::test::expect_error(ErrorCode::kDimensionMismatch, "another dimension",
                           [&] { compose(halo::test::random_matrix(5, 5, 1), view, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
