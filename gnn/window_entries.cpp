#include "halo/gnn/window_entries.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;
constexpr std::size_t kBarSample = 2000;
constexpr float kSharpness = 2.0F;  // of the attention that affinity compares
constexpr float kSmallestSpan = 1e-4F;
constexpr float kSmallestWeight = 1e-6F;
constexpr float kFarthestBack = -2.0F;
constexpr float kOwnRoot = 0.70710678F;  // of a node's attention to itself, 0.5, as a walk has it
constexpr float kNearer = 1e-3F;         // decides where overlaps, shares of few, are equal
constexpr float kAboveEveryWorth = 2.0F;

// bench_window_entries prints them.
constexpr std::array<float, kEntryTerms> kShipped = {
    -0.9067F, -0.6478F, -0.1785F, 0.2959F,  -0.2756F, 3.734F,  3.83F,
    -0.1655F, -0.0983F, -0.418F,  1.547F,   0.5794F,  0.6966F, -0.1785F,
    1.257F,   -0.2756F, 0.3163F,  0.5149F,  0.3772F,  -1.615F, 1.526F,
    0.6493F,  -0.5379F, -0.8206F, -0.9435F, -1.789F,  -1.572F, -1.25F};

std::size_t fewest_of(std::size_t entries, const EntryOptions& options) {
  const auto least = static_cast<std::size_t>(
      std::ceil(options.share * options.fewest * static_cast<float>(entries)));
  return std::min(entries, std::max<std::size_t>(1, least));
}

// s on the scale of a row of similarities.
float nearness(float s, std::span<const float> row) {
  return (s - row.back()) / std::max(row.front() - row.back(), kSmallestSpan);
}

// A row's places, best first.
void order_by_worth(std::span<const float> worth, std::vector<std::uint32_t>& order) {
  order.resize(worth.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return worth[a] != worth[b] ? worth[a] > worth[b] : a < b;
  });
}

}  // namespace

EntryModel::EntryModel() : coefficients(kShipped) {}

float EntryModel::worth(const EntryFeatures& features) const {
  const auto terms = entry_terms(features);
  float logit = 0.0F;
  for (std::size_t t = 0; t < kEntryTerms; ++t) logit += coefficients[t] * terms[t];
  const float p = 1.0F / (1.0F + std::exp(-logit));
  const auto value = [&](EntryFeature f) { return features[static_cast<std::size_t>(f)]; };
  return std::min(p, enough) - redundancy * value(EntryFeature::kOverlap) +
         kNearer * value(EntryFeature::kNearness);
}

void EntryOptions::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("entry options: ") + what);
  };
  check(share > 0 && share <= 1, "share must be above 0, up to 1");
  check(fewest >= 0 && fewest <= 1, "fewest must be 0 to 1");
  check(model.enough >= 0 && model.enough <= 1, "enough must be 0 to 1");
  check(model.redundancy >= 0 && model.redundancy <= 1, "redundancy must be 0 to 1");
  check(std::all_of(model.coefficients.begin(), model.coefficients.end(),
                    [](float x) { return std::fabs(x) <= 1e4F; }),
        "coefficients must be -1e4 to 1e4");
}

std::array<float, kEntryTerms> entry_terms(const EntryFeatures& features) {
  std::array<float, kEntryTerms> terms;
  std::size_t t = 0;
  terms[t++] = 1.0F;
  for (const float x : features) terms[t++] = x;
  for (std::size_t a = 0; a < kEntryFeatures; ++a) {
    for (std::size_t b = a; b < kEntryFeatures; ++b) terms[t++] = features[a] * features[b];
  }
  return terms;
}

std::vector<float> entry_roots(const RankedWindows& windows, std::size_t most,
                               const Executor& executor) {
  std::vector<float> roots(windows.similarities.size(), 0.0F);
  executor.parallel_for(windows.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = windows.row_similarities(i, most);
      const auto weights = std::span(roots).subspan(i * windows.width, row.size());
      std::copy(row.begin(), row.end(), weights.begin());
      attention::row_adaptive_weights(weights, kSharpness);
      // Above 0, so that every entry of a window is seen to be one.
      for (float& weight : weights) weight = std::sqrt(std::max(weight, kSmallestWeight));
    }
  });
  return roots;
}

void entry_features(const RankedWindows& windows, std::size_t most, std::span<const float> roots,
                    std::size_t i, std::span<float> scratch, std::vector<EntryFeatures>& features) {
  const auto row = windows.row(i, most);
  const auto similarities = windows.row_similarities(i, most);
  features.assign(row.size(), {});
  for (std::size_t e = 0; e < row.size(); ++e) {
    scratch[row[e]] = roots[i * windows.width + e];
  }
  scratch[i] = kOwnRoot;
  for (std::size_t e = 0; e < row.size(); ++e) {
    const std::uint32_t j = row[e];
    const auto back = windows.row(j, most);
    const auto put = [&](EntryFeature feature, float value) {
      features[e][static_cast<std::size_t>(feature)] = value;
    };
    put(EntryFeature::kNearness, nearness(similarities[e], similarities));
    if (back.empty()) continue;
    put(EntryFeature::kNearnessBack,
        std::max(kFarthestBack, nearness(similarities[e], windows.row_similarities(j, most))));
    const float length = static_cast<float>(back.size());
    // Without branches: whether windows share a node cannot be foretold.
    float common = 0.0F, affinity = 0.0F;
    std::size_t place = back.size();
    for (std::size_t k = 0; k < back.size(); ++k) {
      const float mark = scratch[back[k]];
      common += mark > 0.0F ? 1.0F : 0.0F;
      affinity += mark * roots[j * windows.width + k];
      place = back[k] == i ? k : place;
    }
    if (place < back.size()) {
      put(EntryFeature::kMutual, 1.0F);
      put(EntryFeature::kRankBack, 1.0F - static_cast<float>(place) / length);
    }
    put(EntryFeature::kOverlap, common / length);
    put(EntryFeature::kAffinity, affinity);
  }
  for (const std::uint32_t j : row) scratch[j] = 0.0F;
  scratch[i] = 0.0F;
}

std::vector<float> entry_worth(const RankedWindows& windows, std::size_t most,
                               const EntryModel& model, const Executor& executor) {
  struct Scratch {
    std::vector<float> marks;
    std::vector<EntryFeatures> features;
  };
  const std::vector<float> roots = entry_roots(windows, most, executor);
  std::vector<float> worth(windows.similarities.size(), 0.0F);
  std::vector<Scratch> scratch(executor.threads());
  executor.parallel_for_workers(windows.size(), kRowsAtOnce,
                                [&](std::size_t worker, std::size_t begin, std::size_t end) {
                                  auto& [marks, features] = scratch[worker];
                                  marks.resize(windows.size(), 0.0F);
                                  for (std::size_t i = begin; i < end; ++i) {
                                    entry_features(windows, most, roots, i, marks, features);
                                    for (std::size_t e = 0; e < features.size(); ++e) {
                                      worth[i * windows.width + e] = model.worth(features[e]);
                                    }
                                  }
                                });
  return worth;
}

float entry_bar(const RankedWindows& windows, std::size_t most, std::span<const float> worth,
                const EntryOptions& options) {
  const std::size_t step = std::max<std::size_t>(1, (windows.size() + kBarSample - 1) / kBarSample);
  std::vector<float> optional, row;  // what rows may keep beside their best few
  std::size_t all = 0, fewest = 0;
  for (std::size_t i = 0; i < windows.size(); i += step) {
    const auto values = worth.subspan(i * windows.width, windows.row(i, most).size());
    row.assign(values.begin(), values.end());
    if (row.empty()) continue;
    std::sort(row.begin(), row.end(), std::greater<>());
    const std::size_t least = fewest_of(row.size(), options);
    all += row.size();
    fewest += least;
    optional.insert(optional.end(), row.begin() + static_cast<std::ptrdiff_t>(least), row.end());
  }
  const auto wanted = static_cast<std::size_t>(
      std::nearbyint(static_cast<double>(options.share) * static_cast<double>(all)));
  if (wanted <= fewest || optional.empty()) return kAboveEveryWorth;
  const std::size_t last = std::min(wanted - fewest, optional.size()) - 1;
  std::nth_element(optional.begin(), optional.begin() + static_cast<std::ptrdiff_t>(last),
                   optional.end(), std::greater<>());
  return optional[last];
}

std::vector<std::uint8_t> kept_entries(const RankedWindows& windows, std::size_t most,
                                       std::span<const float> worth, float bar,
                                       const EntryOptions& options, const Executor& executor) {
  std::vector<std::uint8_t> kept(windows.nodes.size(), 0);
  executor.parallel_for(windows.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<std::uint32_t> order;
    for (std::size_t i = begin; i < end; ++i) {
      const auto values = worth.subspan(i * windows.width, windows.row(i, most).size());
      if (values.empty()) continue;
      order_by_worth(values, order);
      const std::size_t least = fewest_of(values.size(), options);
      for (std::size_t k = 0; k < order.size(); ++k) {
        if (k >= least && values[order[k]] < bar) break;
        kept[i * windows.width + order[k]] = 1;
      }
    }
  });
  return kept;
}

}  // namespace halo::gnn
