// Learned sparsity and dynamic windows: a small model says which entries of attention windows
// matter, and only those are attended to, many in some rows and few in others.
//
// An entry (i, j) is worth keeping as far as i and j belong together, and as far as j leads where
// the rest of i's window does not:
//   worth = min(p, enough) - redundancy x overlap, the nearer first of equals
// p, the probability that i and j belong together, is a logistic function of what their two windows
// say of each other (features below, and their products). Its coefficients were fitted once, to the
// labels of ten sets (bench_window_entries --fit); a refinement model keeps the ones it was made
// with. Beyond `enough` more agreement is worth nothing: among entries
// that surely belong, those reach furthest whose windows overlap least.
//
// A head keeps the entries whose worth reaches its bar, and a row's best few in any case. The bar
// is where the windows keep `share` of their entries on average. A row's choice depends on its own
// window and on those of its members alone, so that it is the same wherever that part of the graph
// is looked at.
//
// Thread-safe: pure functions; the work runs on the executor; the same bytes at any number of
// threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/gnn/ranked_windows.h"

namespace halo::gnn {

/// What the windows of i and j say of the entry (i, j).
enum class EntryFeature : std::size_t {
  kNearness,      ///< s_ij on the scale of i's window: its farthest 0, its nearest 1
  kMutual,        ///< 1 where i is in j's window
  kNearnessBack,  ///< s_ij on the scale of j's window, at least -2
  kRankBack,      ///< i's place in j's window, the nearest 1, 0 where it has none
  kOverlap,       ///< share of j's window that is in i's, or i itself
  kAffinity,      ///< sum_k sqrt(a_ik a_jk): overlap where the attention a is
};
inline constexpr std::size_t kEntryFeatures = 6;
/// A constant, the features, and their products in pairs.
inline constexpr std::size_t kEntryTerms =
    1 + kEntryFeatures + kEntryFeatures * (kEntryFeatures + 1) / 2;
using EntryFeatures = std::array<float, kEntryFeatures>;

struct EntryModel {
  /// Of the logistic function's terms, in the order of kEntryTerms.
  std::array<float, kEntryTerms> coefficients;
  float enough = 0.8F;      ///< 0 to 1; lowering it keeps entries that lead further
  float redundancy = 0.2F;  ///< 0 to 1; raising it keeps entries that lead further

  /// The model that is shipped.
  EntryModel();
  float worth(const EntryFeatures& features) const;
  bool operator==(const EntryModel&) const = default;
};

struct EntryOptions {
  /// Of the windows' entries, that are kept on average: above 0 to 1. 1 keeps all of them; lowering
  /// it makes preparing faster.
  float share = 1.0F;
  /// What every row keeps at least, as a share of that average, 0 to 1. 1: every row the same.
  float fewest = 0.5F;
  EntryModel model;

  bool all() const { return share >= 1.0F; }
  void validate() const;  ///< throws kInvalidArgument
};

/// Of one head: the worth from which entries are kept.
struct EntryBars {
  float content = 0, structure = 0;
  bool operator==(const EntryBars&) const = default;
};

/// The terms of the logistic function.
std::array<float, kEntryTerms> entry_terms(const EntryFeatures& features);

/// The features of row i's entries, those of the first `most` of its window; `roots` as
/// entry_roots() gives it. Scratch: one float a node, 0 before and after. O(most^2).
void entry_features(const RankedWindows& windows, std::size_t most, std::span<const float> roots,
                    std::size_t i, std::span<float> scratch, std::vector<EntryFeatures>& features);

/// Square roots of row-adaptive attention over the first `most` of every window, [size, width].
std::vector<float> entry_roots(const RankedWindows& windows, std::size_t most,
                               const Executor& executor);

/// The worth of the first `most` entries of every window, [size, width]. O(n most^2).
std::vector<float> entry_worth(const RankedWindows& windows, std::size_t most,
                               const EntryModel& model, const Executor& executor);

/// The bar over which the windows keep options.share of the entries of their first `most`, over up
/// to 2,000 evenly spaced rows.
float entry_bar(const RankedWindows& windows, std::size_t most, std::span<const float> worth,
                const EntryOptions& options);

/// Flags [size, width]: 1 for the entries among the first `most` of a window that are kept, those
/// of at least `bar`, and a row's best ceil(share fewest entries) in any case (equal worth: the
/// nearer).
std::vector<std::uint8_t> kept_entries(const RankedWindows& windows, std::size_t most,
                                       std::span<const float> worth, float bar,
                                       const EntryOptions& options, const Executor& executor);

}  // namespace halo::gnn
