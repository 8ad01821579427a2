#include "halo/gnn/train/fit_fusion.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "halo/core/error.h"
#include "halo/gnn/fusion.h"

namespace halo::gnn {
namespace {

constexpr double kLeastSharpness = 0.25, kMostSharpness = 64.0;
constexpr std::size_t kSharpnessSteps = 40;
constexpr std::size_t kSweeps = 200;  // of the coordinates, in each quadratic model
constexpr std::size_t kMostHalvings = 20;
constexpr double kSmallestGain = 1e-9;

// A loss at some weights, with its slope and curvature.
struct Point {
  double loss = 0;
  std::vector<double> slope, curvature;  // [terms], [terms, terms]

  explicit Point(std::size_t terms) : slope(terms, 0.0), curvature(terms * terms, 0.0) {}
  void add(const Point& other) {
    loss += other.loss;
    for (std::size_t i = 0; i < slope.size(); ++i) slope[i] += other.slope[i];
    for (std::size_t i = 0; i < curvature.size(); ++i) curvature[i] += other.curvature[i];
  }
};

// Of one list, at its weights and sharpness.
Point listwise(const JudgedList& list, std::span<const double> weights, double sharpness) {
  const std::size_t terms = weights.size(), n = list.relevant.size();
  std::vector<double> p(n, 0.0), expected(terms, 0.0);
  for (std::size_t t = 0; t < terms; ++t) {
    for (std::size_t j = 0; j < n; ++j) {
      p[j] += sharpness * weights[t] * static_cast<double>(list.terms.row(t)[j]);
    }
  }
  const double top = *std::max_element(p.begin(), p.end());
  double sum = 0, relevant = 0, score = 0;
  for (std::size_t j = 0; j < n; ++j) {
    if (list.relevant[j] != 0) {
      score += p[j] - top;
      ++relevant;
    }
    p[j] = std::exp(p[j] - top);
    sum += p[j];
  }
  Point point(terms);
  point.loss = std::log(std::max(sum, 1.0)) - score / relevant;  // the top's own term is 1
  for (double& x : p) x /= sum;
  for (std::size_t t = 0; t < terms; ++t) {
    double seen = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const double term = static_cast<double>(list.terms.row(t)[j]);
      expected[t] += p[j] * term;
      if (list.relevant[j] != 0) seen += term / relevant;
    }
    point.slope[t] = sharpness * (expected[t] - seen);
  }
  for (std::size_t t = 0; t < terms; ++t) {
    for (std::size_t u = 0; u <= t; ++u) {
      double product = 0;
      for (std::size_t j = 0; j < n; ++j) {
        product += p[j] * static_cast<double>(list.terms.row(t)[j]) *
                   static_cast<double>(list.terms.row(u)[j]);
      }
      const double value = sharpness * sharpness * (product - expected[t] * expected[u]);
      point.curvature[t * terms + u] = point.curvature[u * terms + t] = value;
    }
  }
  return point;
}

class Fit {
 public:
  Fit(std::vector<JudgedList> lists, std::span<const float> start, double pull,
      const Executor& executor)
      : lists_(std::move(lists)),
        start_(start.begin(), start.end()),
        pull_(pull),
        executor_(executor) {
    // Golden section: the loss is convex in the sharpness too.
    const double ratio = (std::sqrt(5.0) - 1) / 2;
    double low = kLeastSharpness, high = kMostSharpness;
    for (std::size_t step = 0; step < kSharpnessSteps; ++step) {
      const double a = high - ratio * (high - low), b = low + ratio * (high - low);
      if (at(start_, a).loss <= at(start_, b).loss) {
        high = b;
      } else {
        low = a;
      }
    }
    sharpness_ = (low + high) / 2;
  }

  std::vector<double> run(std::size_t iterations) const {
    std::vector<double> weights = start_;
    Point here = at(weights, sharpness_);
    for (std::size_t i = 0; i < iterations; ++i) {
      const std::vector<double> target = newton(here, weights);
      std::vector<double> next(weights.size());
      double step = 1.0;
      bool moved = false;
      for (std::size_t h = 0; h < kMostHalvings && !moved; ++h, step /= 2) {
        for (std::size_t t = 0; t < next.size(); ++t) {
          next[t] = weights[t] + step * (target[t] - weights[t]);
        }
        Point there = at(next, sharpness_);
        if (there.loss < here.loss - kSmallestGain) {
          here = std::move(there);
          weights = next;
          moved = true;
        }
      }
      if (!moved) break;
    }
    return weights;
  }

 private:
  Point at(std::span<const double> weights, double sharpness) const {
    std::vector<Point> points(lists_.size(), Point(weights.size()));
    executor_.parallel_for(lists_.size(), 4, [&](std::size_t begin, std::size_t end) {
      for (std::size_t q = begin; q < end; ++q) points[q] = listwise(lists_[q], weights, sharpness);
    });
    Point total(weights.size());
    for (const Point& point : points) total.add(point);
    for (std::size_t t = 0; t < weights.size(); ++t) {
      const double away = weights[t] - start_[t];
      total.loss += pull_ * away * away;
      total.slope[t] += 2 * pull_ * away;
      total.curvature[t * weights.size() + t] += 2 * pull_;
    }
    return total;
  }

  // The least of the quadratic model at `weights` over w >= 0, coordinate by coordinate.
  static std::vector<double> newton(const Point& at, std::span<const double> weights) {
    const std::size_t terms = weights.size();
    std::vector<double> w(weights.begin(), weights.end()), slope = at.slope;
    for (std::size_t sweep = 0; sweep < kSweeps; ++sweep) {
      for (std::size_t t = 0; t < terms; ++t) {
        const double* row = at.curvature.data() + t * terms;
        const double next =
            std::clamp(w[t] - slope[t] / row[t], 0.0, static_cast<double>(Fusion::kMostWeight));
        const double moved = next - w[t];
        if (moved == 0) continue;
        w[t] = next;
        for (std::size_t u = 0; u < terms; ++u) slope[u] += row[u] * moved;
      }
    }
    return w;
  }

  std::vector<JudgedList> lists_;
  std::vector<double> start_;
  double pull_, sharpness_ = 1;
  const Executor& executor_;
};

}  // namespace

void FusionOptions::validate() const {
  if (!(pull > 0) || !std::isfinite(pull)) {
    throw Error(ErrorCode::kInvalidArgument, "fusion options: pull must be above 0");
  }
  if (iterations == 0) {
    throw Error(ErrorCode::kInvalidArgument, "fusion options: iterations must be at least 1");
  }
}

std::vector<float> fit_fusion(std::span<const JudgedList> lists, std::span<const float> start,
                              const FusionOptions& options, const Executor& executor) {
  options.validate();
  std::vector<JudgedList> telling;
  for (const JudgedList& list : lists) {
    if (list.terms.rows != start.size() || list.terms.cols != list.relevant.size()) {
      throw Error(ErrorCode::kDimensionMismatch,
                  "fusion: a list of " + std::to_string(list.terms.rows) + " terms and " +
                      std::to_string(list.terms.cols) + " candidates, not " +
                      std::to_string(start.size()) + " and " +
                      std::to_string(list.relevant.size()));
    }
    if (std::any_of(list.relevant.begin(), list.relevant.end(), [](auto r) { return r != 0; })) {
      telling.push_back(list);
    }
  }
  if (telling.empty()) return {start.begin(), start.end()};
  const auto weights =
      Fit(std::move(telling), start, options.pull, executor).run(options.iterations);
  return {weights.begin(), weights.end()};
}

}  // namespace halo::gnn
