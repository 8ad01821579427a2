// What keeping half of the windows' entries costs and buys, by several rules of choice, and the fit
// of the shipped one (gnn/window_entries.h).
//
//   bench_window_entries --data DIR [--data DIR]... [--share 0.5] [--queries-limit N] [--threads N]
//                        [--fit]
//
// DIR as bench_quality takes it. Rules:
//   nearest     the nearest entries, as many in every row
//   similarity  entries above one threshold of similarity on the row's scale, at least half of the
//               average in every row
//   even        the learned model, as many in every row
//   learned     the learned model, as many as a row has above the bar: what RefineOptions::entries
//               does. For a set with labels the model is fitted to the other sets of the command.
//   shipped     the same with the model that is shipped
// Differences are to the whole windows, of means in points, mAP@100 with its 95% paired-bootstrap
// interval. --fit prints the coefficients fitted to all the sets' base labels and compares nothing.
#include <CLI/CLI.hpp>

#include <Eigen/Cholesky>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "halo/gnn/prepare_heads.h"
#include "halo/gnn/ranked_windows.h"
#include "halo/index/neighbour_windows.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/io/vectors.h"
#include "quality_data.h"

namespace halo::bench {
namespace {

constexpr std::size_t kFitRows = 1000;  // of a set
constexpr std::size_t kSpectrumSample = 20000;
constexpr int kNewtonSteps = 25;
constexpr double kRidge = 1e-4;

struct Command {
  std::vector<std::filesystem::path> folders;
  std::size_t queries_limit = 0, threads = 0;
  float share = 0.5F;
  bool fit = false;
};

// Entries of a set's windows: the model's terms, and whether both ends have one label.
struct Examples {
  std::vector<std::array<float, gnn::kEntryTerms>> terms;
  std::vector<double> together;
};

struct Set {
  std::filesystem::path folder;
  QualityData data;
  Engine plain;
  Examples examples;  // none without labels
};

Examples examples_of(const Set& set, const Executor& executor) {
  Examples examples;
  if (!std::filesystem::exists(set.folder / "base_labels.npy")) return examples;
  const std::vector<std::int64_t> labels = io::load_labels(set.folder / "base_labels.npy");
  const GraphSnapshot& snapshot = *set.plain.snapshot();
  const gnn::RefineOptions options;
  const std::size_t most = options.structure.window;
  const MatrixView vectors = snapshot.vectors();
  const auto projection = gnn::leading_projection(
      gnn::covariance_spectrum(vectors, kSpectrumSample, executor, options.centred_rank),
      options.centred_rank);
  Matrix x = Matrix::padded(vectors.rows, projection.out_dim());
  projection.apply(vectors, x, executor);
  const auto windows = gnn::rank_windows(
      x, neighbour_windows(snapshot, options.window * options.wide_windows, executor), most,
      executor);
  const auto roots = gnn::entry_roots(windows, most, executor);
  const auto label = [&](std::size_t node) {
    return labels[static_cast<std::size_t>(snapshot.id(static_cast<Node>(node)))];
  };
  std::vector<float> scratch(windows.size(), 0.0F);
  std::vector<gnn::EntryFeatures> features;
  for (std::size_t i = 0; i < windows.size(); i += (windows.size() + kFitRows - 1) / kFitRows) {
    gnn::entry_features(windows, most, roots, i, scratch, features);
    for (std::size_t e = 0; e < features.size(); ++e) {
      examples.terms.push_back(gnn::entry_terms(features[e]));
      examples.together.push_back(label(windows.row(i)[e]) == label(i) ? 1.0 : 0.0);
    }
  }
  return examples;
}

// Logistic regression by Newton's method; every set weighs the same.
gnn::EntryModel fit(const std::vector<const Examples*>& sets) {
  constexpr auto kTerms = static_cast<Eigen::Index>(gnn::kEntryTerms);
  Eigen::VectorXd beta = Eigen::VectorXd::Zero(kTerms), t(kTerms);
  for (int step = 0; step < kNewtonSteps; ++step) {
    Eigen::VectorXd gradient = -kRidge * beta;
    Eigen::MatrixXd hessian = kRidge * Eigen::MatrixXd::Identity(kTerms, kTerms);
    for (const Examples* set : sets) {
      const double weight = 1.0 / static_cast<double>(set->terms.size() * sets.size());
      for (std::size_t e = 0; e < set->terms.size(); ++e) {
        for (Eigen::Index k = 0; k < kTerms; ++k) {
          t[k] = double{set->terms[e][static_cast<std::size_t>(k)]};
        }
        const double p = 1.0 / (1.0 + std::exp(-beta.dot(t)));
        gradient += weight * (set->together[e] - p) * t;
        hessian.selfadjointView<Eigen::Lower>().rankUpdate(t, weight * p * (1.0 - p));
      }
    }
    beta += hessian.selfadjointView<Eigen::Lower>().llt().solve(gradient);
  }
  gnn::EntryModel model;
  for (Eigen::Index k = 0; k < kTerms; ++k) {
    model.coefficients[static_cast<std::size_t>(k)] = static_cast<float>(beta[k]);
  }
  return model;
}

gnn::EntryModel fitted_without(const std::vector<Set>& sets, std::size_t left_out) {
  std::vector<const Examples*> others;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    if (s != left_out && !sets[s].examples.terms.empty()) others.push_back(&sets[s].examples);
  }
  return others.empty() ? gnn::EntryModel() : fit(others);
}

// Worth rises with nearness alone.
gnn::EntryModel by_nearness() {
  gnn::EntryModel model;
  model.coefficients.fill(0.0F);
  model.coefficients[1 + static_cast<std::size_t>(gnn::EntryFeature::kNearness)] = 4.0F;
  model.enough = 1.0F;
  model.redundancy = 0.0F;
  return model;
}

struct Outcome {
  QualityTable quality;
  double seconds = 0;
};

Outcome measure(const Set& set, const gnn::EntryOptions& entries, const Executor& executor) {
  gnn::RefineOptions options;
  options.entries = entries;
  const auto started = std::chrono::steady_clock::now();
  const Engine engine = set.plain.refined(options, executor);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  QueryOptions query;
  query.candidates = query.ef = std::min<std::size_t>(400, set.data.base.rows());
  query.k = std::min<std::size_t>(100, query.candidates);
  query.refine = RefineMode::kAuto;
  const BatchResults results = engine.search(set.data.queries, query, executor);
  return {quality({results.ids, results.k}, set.data.relevance), taken.count()};
}

constexpr std::array<const char*, 5> kRules = {"nearest", "similarity", "even", "learned",
                                               "shipped"};

std::array<gnn::EntryOptions, kRules.size()> rules(float share, const gnn::EntryModel& learned) {
  return {gnn::EntryOptions{share, 1.0F, by_nearness()},
          gnn::EntryOptions{share, 0.5F, by_nearness()}, gnn::EntryOptions{share, 1.0F, learned},
          gnn::EntryOptions{share, 0.5F, learned}, gnn::EntryOptions{share, 0.5F, {}}};
}

void compare(const std::vector<Set>& sets, float share, const Executor& executor) {
  std::array<std::array<double, 3>, kRules.size()> sum{};
  std::printf("%-22s %-10s %8s %18s %7s %8s %7s\n", "set", "rule", "mAP@100", "difference", "P@1",
              "nDCG@10", "time x");
  for (std::size_t s = 0; s < sets.size(); ++s) {
    const Outcome whole = measure(sets[s], {}, executor);
    std::printf("%-22s %-10s %8.1f\n", sets[s].data.name.c_str(), "all",
                100 * whole.quality.mean(Measure::kMap100));
    const auto options = rules(share, fitted_without(sets, s));
    for (std::size_t r = 0; r < kRules.size(); ++r) {
      const Outcome kept = measure(sets[s], options[r], executor);
      const auto gain = [&](Measure m) {
        return 100 * (kept.quality.mean(m) - whole.quality.mean(m));
      };
      const Interval map = paired_bootstrap(whole.quality.of(Measure::kMap100),
                                            kept.quality.of(Measure::kMap100), 1);
      std::printf("%-22s %-10s %8.1f %+5.1f [%+.1f, %+.1f] %+7.1f %+8.1f %7.2f\n", "", kRules[r],
                  100 * kept.quality.mean(Measure::kMap100), 100 * map.mean, 100 * map.low,
                  100 * map.high, gain(Measure::kP1), gain(Measure::kNdcg10),
                  kept.seconds / whole.seconds);
      sum[r][0] += gain(Measure::kMap100);
      sum[r][1] += gain(Measure::kP1);
      sum[r][2] += gain(Measure::kNdcg10);
    }
    std::fflush(stdout);
  }
  for (std::size_t r = 0; r < kRules.size(); ++r) {
    const auto n = static_cast<double>(sets.size());
    std::printf("%-22s %-10s %8s %+18.2f %+7.2f %+8.2f\n", r == 0 ? "mean" : "", kRules[r], "",
                sum[r][0] / n, sum[r][1] / n, sum[r][2] / n);
  }
}

void run(const Command& command) {
  const Executor executor(command.threads);
  BuildOptions build;
  build.metric = Metric::kCosine;
  build.deterministic = true;
  std::vector<Set> sets;
  for (const auto& folder : command.folders) {
    QualityData data = load_quality_data(folder, command.queries_limit);
    Engine plain = Engine::build(data.base, data.ids, build, executor);
    sets.push_back({folder, std::move(data), std::move(plain), {}});
    sets.back().examples = examples_of(sets.back(), executor);
  }
  if (!command.fit) {
    compare(sets, command.share, executor);
    return;
  }
  for (const float coefficient : fitted_without(sets, sets.size()).coefficients) {
    std::printf("%.4gF, ", double{coefficient});
  }
  std::printf("\n");
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  halo::bench::Command command;
  CLI::App app("Quality and time of refinement that keeps a share of its windows' entries");
  app.add_option("--data", command.folders, "Folder of base.npy, queries.npy and relevance")
      ->required();
  app.add_option("--share", command.share, "Of the entries, kept on average")
      ->check(CLI::Range(0.05, 1.0));
  app.add_option("--queries-limit", command.queries_limit, "First queries only; 0 for all");
  app.add_option("--threads", command.threads, "0 for every core");
  app.add_flag("--fit", command.fit, "Print the coefficients fitted to these sets' labels");
  CLI11_PARSE(app, argc, argv);
  try {
    halo::bench::run(command);
  } catch (const std::exception& error) {
    std::cerr << "bench_window_entries: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
