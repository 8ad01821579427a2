#include "halo/gnn/window_entries.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "halo/gnn/structure.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRows = 400, kMost = 12, kWidth = 16;

// Windows of clustered vectors; row i has at most `length(i)` entries.
RankedWindows windows_of(std::size_t (*length)(std::size_t)) {
  Matrix x = test::clustered_matrix(kRows, 12, 20, 0.7F, 3);
  for (std::size_t i = 0; i < kRows; ++i) kernels::normalise(x.row(i), x.cols());
  Random random(5);
  std::vector<std::vector<std::uint32_t>> rows(kRows);
  for (std::uint32_t i = 0; i < kRows; ++i) {
    std::vector<std::pair<float, std::uint32_t>> order;
    for (std::uint32_t j = 0; j < kRows; ++j) {
      if (j != i) order.emplace_back(-kernels::dot(x.row(i), x.row(j), x.cols()), j);
    }
    std::sort(order.begin(), order.end());
    order.resize(std::min<std::size_t>(length(i), 24));
    for (const auto& [s, j] : order) rows[i].push_back(j);
  }
  return rank_windows(x, CsrMask::from_rows(std::move(rows), kRows), kWidth, Executor(2));
}

const RankedWindows& full() {
  static const RankedWindows kWindows = windows_of([](std::size_t) { return std::size_t{24}; });
  return kWindows;
}
// Rows of 0, 1, 2, ... entries.
const RankedWindows& uneven() {
  static const RankedWindows kWindows = windows_of([](std::size_t i) { return i % 17; });
  return kWindows;
}

std::vector<std::uint8_t> kept_of(const RankedWindows& windows, const EntryOptions& options,
                                  std::size_t threads = 2) {
  const Executor executor(threads);
  const auto worth = entry_worth(windows, kMost, options.model, executor);
  return kept_entries(windows, kMost, worth, entry_bar(windows, kMost, worth, options), options,
                      executor);
}

std::size_t count_of(const RankedWindows& windows, std::span<const std::uint8_t> kept,
                     std::size_t i) {
  const auto row = kept.subspan(i * windows.width, windows.width);
  return static_cast<std::size_t>(std::count(row.begin(), row.end(), 1));
}

EntryModel by_nearness() {
  EntryModel model;
  model.coefficients.fill(0.0F);
  model.coefficients[1] = 4.0F;
  model.enough = 1.0F;
  model.redundancy = 0.0F;
  return model;
}

float feature(const EntryFeatures& features, EntryFeature which) {
  return features[static_cast<std::size_t>(which)];
}

TEST(WindowEntries, FeaturesSayWhatTheTwoWindowsSayOfEachOther) {
  for (const RankedWindows* windows : {&full(), &uneven()}) {
    const auto roots = entry_roots(*windows, kMost, Executor(2));
    std::vector<float> scratch(kRows, 0.0F);
    std::vector<EntryFeatures> features;
    for (std::size_t i = 0; i < kRows; i += 7) {
      entry_features(*windows, kMost, roots, i, scratch, features);
      const auto row = windows->row(i, kMost);
      const auto s = windows->row_similarities(i, kMost);
      ASSERT_EQ(features.size(), row.size());
      std::vector<float> own(s.begin(), s.end());
      attention::row_adaptive_weights(own, 2.0F);
      for (std::size_t e = 0; e < row.size(); ++e) {
        const auto back = windows->row(row[e], kMost);
        const auto found = std::find(back.begin(), back.end(), i);
        EXPECT_EQ(feature(features[e], EntryFeature::kMutual), found != back.end() ? 1.0F : 0.0F);
        const auto place = static_cast<float>(found - back.begin());
        EXPECT_FLOAT_EQ(
            feature(features[e], EntryFeature::kRankBack),
            found == back.end() ? 0.0F : 1.0F - place / static_cast<float>(back.size()));
        EXPECT_FLOAT_EQ(feature(features[e], EntryFeature::kNearness),
                        (s[e] - s.back()) / std::max(s.front() - s.back(), 1e-4F));
        float common = 0, affinity = 0;
        std::vector<float> theirs(windows->row_similarities(row[e], kMost).begin(),
                                  windows->row_similarities(row[e], kMost).end());
        attention::row_adaptive_weights(theirs, 2.0F);
        for (std::size_t k = 0; k < back.size(); ++k) {
          const auto at = std::find(row.begin(), row.end(), back[k]);
          if (back[k] != i && at == row.end()) continue;
          common += 1;
          const float mine = back[k] == i ? 0.5F : own[static_cast<std::size_t>(at - row.begin())];
          affinity += std::sqrt(mine * theirs[k]);
        }
        const float length = back.empty() ? 1.0F : static_cast<float>(back.size());
        EXPECT_FLOAT_EQ(feature(features[e], EntryFeature::kOverlap), common / length);
        EXPECT_NEAR(feature(features[e], EntryFeature::kAffinity), affinity, 1e-5F);
        EXPECT_GE(feature(features[e], EntryFeature::kNearnessBack), -2.0F);
      }
    }
    EXPECT_EQ(scratch, std::vector<float>(kRows, 0.0F));
  }
}

TEST(WindowEntries, TheShareIsKeptOnAverageAndRowsDiffer) {
  for (const float share : {0.25F, 0.5F, 0.8F}) {
    EntryOptions options;
    options.share = share;
    const auto kept = kept_of(full(), options);
    std::size_t all = 0;
    std::set<std::size_t> counts;
    for (std::size_t i = 0; i < kRows; ++i) {
      const std::size_t count = count_of(full(), kept, i);
      counts.insert(count);
      all += count;
      EXPECT_GE(count, static_cast<std::size_t>(std::ceil(share / 2 * kMost)));
      EXPECT_LE(count, kMost);
    }
    EXPECT_NEAR(static_cast<double>(all) / kRows, double{share} * kMost, 0.25);
    EXPECT_GT(counts.size(), 2U);
  }
}

TEST(WindowEntries, KeptEntriesAreOfTheWindow) {
  EntryOptions options;
  options.share = 0.5F;
  for (const RankedWindows* windows : {&full(), &uneven()}) {
    const auto kept = kept_of(*windows, options);
    ASSERT_EQ(kept.size(), windows->nodes.size());
    for (std::size_t i = 0; i < kRows; ++i) {
      const std::size_t entries = windows->row(i, kMost).size();
      for (std::size_t e = entries; e < kWidth; ++e) EXPECT_EQ(kept[i * kWidth + e], 0);
      // A row with any entry keeps one, and a row of one keeps it.
      EXPECT_EQ(count_of(*windows, kept, i) > 0, entries > 0) << i;
    }
    const CsrMask mask = mask_of(*windows, kMost, kept);
    for (std::size_t i = 0; i < kRows; ++i) {
      EXPECT_EQ(mask.row(i).size(), count_of(*windows, kept, i));
      const auto row = windows->row(i, kMost);
      for (const auto j : mask.row(i)) EXPECT_TRUE(std::ranges::find(row, j) != row.end());
    }
  }
}

TEST(WindowEntries, NearnessAloneKeepsTheNearest) {
  EntryOptions options{0.5F, 1.0F, by_nearness()};
  const auto kept = kept_of(full(), options);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t e = 0; e < kWidth; ++e) {
      EXPECT_EQ(kept[i * kWidth + e], e < kMost / 2 ? 1 : 0);
    }
  }
}

TEST(WindowEntries, AmongEntriesThatSurelyBelongThoseReachFurthestThatOverlapLeast) {
  EntryModel model;
  model.coefficients.fill(0.0F);
  model.coefficients[0] = 10.0F;  // every entry belongs
  EntryFeatures near{}, far{};
  near[static_cast<std::size_t>(EntryFeature::kOverlap)] = 0.9F;
  far[static_cast<std::size_t>(EntryFeature::kOverlap)] = 0.3F;
  EXPECT_FLOAT_EQ(model.worth(far), 0.8F - 0.2F * 0.3F);
  EXPECT_GT(model.worth(far), model.worth(near));
  // One that does not belong is worth less than either.
  model.coefficients[0] = -10.0F;
  EXPECT_LT(model.worth(far), 0.0F);
}

TEST(WindowEntries, TheShippedModelPrefersWindowsThatAgree) {
  EntryFeatures stranger{}, friend_of{};
  friend_of = {0.5F, 1.0F, 0.5F, 0.5F, 0.6F, 0.6F};
  stranger[0] = 0.5F;
  EXPECT_GT(EntryModel().worth(friend_of), EntryModel().worth(stranger) + 0.1F);
}

TEST(WindowEntries, ThreadsDoNotMatter) {
  EntryOptions options;
  options.share = 0.5F;
  EXPECT_EQ(entry_worth(full(), kMost, options.model, Executor(1)),
            entry_worth(full(), kMost, options.model, Executor(3)));
  EXPECT_EQ(kept_of(full(), options, 1), kept_of(full(), options, 3));
}

TEST(WindowEntries, WalksTakeTheKeptEntriesAlone) {
  EntryOptions options;
  options.share = 0.5F;
  const auto kept = kept_of(full(), options);
  StructureOptions structure;
  structure.window = kMost;
  structure.steps = 1;
  const StructureRows rows = diffuse(full(), structure, Executor(2), {}, kept);
  for (std::size_t i = 0; i < kRows; ++i) {
    std::set<std::uint32_t> reached = {static_cast<std::uint32_t>(i)};
    const auto step = [&](std::size_t from) {
      const auto row = full().row(from, kMost);
      for (std::size_t e = 0; e < row.size(); ++e) {
        if (kept[from * kWidth + e] != 0) reached.insert(row[e]);
      }
    };
    step(i);
    for (const auto j : std::set<std::uint32_t>(reached)) step(j);
    for (const std::uint32_t entry : rows.row(i)) {
      if (rows.root_of(entry) == 0) continue;
      EXPECT_TRUE(reached.contains(rows.node_of(entry)));
    }
    EXPECT_GT(rows.share_of_square(i), 0.0F);
  }
}

TEST(WindowEntries, NoWindowsNoBar) {
  const RankedWindows none = windows_of([](std::size_t) { return std::size_t{0}; });
  EntryOptions options;
  options.share = 0.5F;
  const auto kept = kept_of(none, options);
  EXPECT_EQ(std::count(kept.begin(), kept.end(), 1), 0);
  const RankedWindows nobody;
  EXPECT_TRUE(kept_of(nobody, options).empty());
}

TEST(WindowEntries, RefusesOptionsOutOfRange) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = [](auto change) {
    EntryOptions options;
    change(options);
    test::expect_error(ErrorCode::kInvalidArgument, "entry options", [&] { options.validate(); });
  };
  EXPECT_TRUE(EntryOptions().all());
  EXPECT_NO_THROW(EntryOptions().validate());
  for (const float share : {0.0F, -0.5F, 1.5F, kNan}) {
    refused([&](EntryOptions& options) { options.share = share; });
  }
  for (const float x : {-0.1F, 1.1F, kNan}) {
    refused([&](EntryOptions& options) { options.fewest = x; });
    refused([&](EntryOptions& options) { options.model.enough = x; });
    refused([&](EntryOptions& options) { options.model.redundancy = x; });
  }
  for (const float x : {1e5F, kNan}) {
    refused([&](EntryOptions& options) { options.model.coefficients[7] = x; });
  }
}

}  // namespace
}  // namespace halo::gnn
