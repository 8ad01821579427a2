#include "halo/gnn/structure.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"
#include "halo/gnn/content_layer.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;
constexpr std::size_t kFewestEntries = 16, kLanes = 8;
constexpr std::size_t kMostEntries = 4096;
constexpr unsigned kMostRootBits = 8;

struct Entry {
  std::uint32_t node;
  float weight;
};

// An entry as one number: the greater, the heavier, and of equal weights the lower node. Numbers of
// floats above 0 are in the floats' order.
std::uint64_t by_weight(std::uint32_t node, float weight) {
  return std::uint64_t{std::bit_cast<std::uint32_t>(weight)} << 32U | ~node;
}
// The same entry, its node above its weight.
std::uint64_t by_node(std::uint64_t key) {
  return std::uint64_t{~static_cast<std::uint32_t>(key)} << 32U | key >> 32U;
}

// Rows of at most `room` entries each.
struct Rows {
  Rows(std::size_t size, std::size_t row_room)
      : room(row_room), entries(size * row_room), counts(size, 0) {}
  std::span<const Entry> row(std::size_t i) const {
    return std::span(entries).subspan(i * room, counts[i]);
  }
  /// Keeps the heaviest of `all` (equal weights: lower node first), by node. Weights are above 0.
  void keep(std::size_t i, std::vector<std::uint64_t>& all) {
    if (all.size() > room) {
      std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(room), all.end(),
                       std::greater<>());
      all.resize(room);
    }
    for (std::uint64_t& key : all) key = by_node(key);
    std::sort(all.begin(), all.end());
    Entry* out = entries.data() + i * room;
    for (const std::uint64_t key : all) {
      *out++ = {static_cast<std::uint32_t>(key >> 32U),
                std::bit_cast<float>(static_cast<std::uint32_t>(key))};
    }
    counts[i] = static_cast<std::uint32_t>(all.size());
  }

  std::size_t room;
  std::vector<Entry> entries;
  std::vector<std::uint32_t> counts;
};

// The flagged of a row's weights, the others 0; their sum 1 again.
void keep_flagged(std::span<const std::uint8_t> kept, std::span<float> weights) {
  float sum = 0.0F;
  for (std::size_t e = 0; e < weights.size(); ++e) {
    if (kept[e] == 0) weights[e] = 0.0F;
    sum += weights[e];
  }
  for (float& weight : weights) weight = sum > 0.0F ? weight / sum : 0.0F;
}

// A: attention over the windows, one-sided entries damped, plus the node itself.
Rows transition(const RankedWindows& windows, const StructureOptions& options,
                std::span<const std::uint8_t> kept, const Executor& executor) {
  Rows a(windows.size(), options.window + 1);
  executor.parallel_for(windows.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<float> weights;
    std::vector<std::uint8_t> mutual;
    std::vector<std::uint64_t> entries;
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = windows.row(i, options.window);
      const auto similarities = windows.row_similarities(i, options.window);
      weights.assign(similarities.begin(), similarities.end());
      mutual.clear();
      for (const auto j : row) {
        const auto back = windows.row(j, options.window);
        mutual.push_back(std::find(back.begin(), back.end(), i) != back.end() ? 1 : 0);
      }
      structure_weights(weights, mutual, options);
      if (!kept.empty()) keep_flagged(kept.subspan(i * windows.width, row.size()), weights);
      entries.assign(
          1, by_weight(static_cast<std::uint32_t>(i), row.empty() ? 1.0F : options.self_share));
      for (std::size_t e = 0; e < row.size(); ++e) {
        if (kept.empty() || weights[e] > 0.0F) entries.push_back(by_weight(row[e], weights[e]));
      }
      a.keep(i, entries);
    }
  });
  return a;
}

// out = the heaviest entries of A x.
Rows multiply(const Rows& a, const Rows& x, std::size_t room, const Executor& executor) {
  struct Scratch {
    std::vector<float> sum;  // dense, by node: zeros between rows
    std::vector<std::uint32_t> nodes;
    std::vector<std::uint64_t> entries;
  };
  const std::size_t size = a.counts.size();
  Rows out(size, room);
  std::vector<Scratch> scratch(executor.threads());
  executor.parallel_for_workers(
      size, kRowsAtOnce, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        auto& [sum, nodes, entries] = scratch[worker];
        sum.resize(size, 0.0F);
        nodes.resize(a.room * x.room);
        for (std::size_t i = begin; i < end; ++i) {
          std::size_t listed = 0;
          for (const Entry& step : a.row(i)) {
            for (const Entry& entry : x.row(step.node)) {
              // Without a branch: whether a node is new cannot be foretold.
              const float before = sum[entry.node];
              nodes[listed] = entry.node;
              listed += before == 0.0F ? 1 : 0;
              sum[entry.node] = before + step.weight * entry.weight;
            }
          }
          entries.clear();
          for (const std::uint32_t node : std::span(nodes).first(listed)) {
            // A node may be listed twice where its sum underflowed to 0 in between.
            const float weight = std::exchange(sum[node], 0.0F);
            if (weight > 0.0F) entries.push_back(by_weight(node, weight));
          }
          out.keep(i, entries);
        }
      });
  return out;
}

StructureRows stored(const Rows& rows, std::size_t kept) {
  StructureRows out(rows.counts.size(), kept);
  const auto steps = static_cast<float>(out.largest_root());
  for (std::size_t i = 0; i < out.size(); ++i) {
    float heaviest = 0.0F;
    for (const Entry& entry : rows.row(i)) heaviest = std::max(heaviest, entry.weight);
    std::size_t e = 0;
    for (const Entry& entry : rows.row(i)) {
      const float root = std::nearbyint(steps * std::sqrt(entry.weight / heaviest));
      out.row(i)[e++] = out.entry(entry.node, static_cast<std::uint32_t>(root));
    }
  }
  return out;
}

}  // namespace

void StructureOptions::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("structure options: ") + what);
  };
  check(window >= 1 && window <= 1024, "window must be 1 to 1024");
  check(sharpness >= 0 && sharpness <= kMostSharpness, "sharpness must be 0 to 1e6");
  check(one_sided >= 0 && one_sided <= 1, "one_sided must be 0 to 1");
  check(self_share > 0 && std::isfinite(self_share), "self_share must be above 0");
  check(steps >= 1 && steps <= 16, "steps must be 1 to 16");
  check(kept >= kFewestEntries && kept % kLanes == 0 && kept <= kMostEntries,
        "kept must be a multiple of 8, 16 to 4096");
  check(breadth >= kept && breadth <= kMostEntries, "breadth must be kept to 4096");
}

StructureRows::StructureRows(std::size_t size, std::size_t kept) : size_(size), kept_(kept) {
  if (size > kMostRows) {
    throw Error(ErrorCode::kInvalidArgument, "structure of " + std::to_string(size) +
                                                 " vectors, at most " + std::to_string(kMostRows));
  }
  const auto node_bits = static_cast<unsigned>(std::bit_width(size > 0 ? size - 1 : 0));
  root_bits_ = std::min(kMostRootBits, 32U - node_bits);
  const std::size_t bytes = size * kept * sizeof(std::uint32_t);
  entries_.reset(static_cast<std::uint32_t*>(allocate_aligned(bytes)));
  if (!entries_) {
    throw Error(ErrorCode::kOutOfMemory, "no memory for " + std::to_string(bytes) + " bytes");
  }
  std::memset(entries_.get(), 0, bytes);
}

float StructureRows::share_of_square(std::size_t i) const {
  std::uint64_t squares = 0;
  for (const std::uint32_t entry : row(i)) {
    squares += std::uint64_t{root_of(entry)} * root_of(entry);
  }
  return squares > 0 ? 1.0F / static_cast<float>(squares) : 0.0F;
}

void structure_weights(std::span<float> similarities, std::span<const std::uint8_t> mutual,
                       const StructureOptions& options) {
  attention::row_adaptive_weights(similarities, options.sharpness);
  float sum = 0.0F;
  for (std::size_t e = 0; e < similarities.size(); ++e) {
    if (mutual[e] == 0) similarities[e] *= options.one_sided;
    sum += similarities[e];
  }
  for (float& weight : similarities) weight = sum > 0.0F ? weight / sum : 0.0F;
}

StructureRows diffuse(const RankedWindows& windows, const StructureOptions& options,
                      const Executor& executor, const Job& job,
                      std::span<const std::uint8_t> kept) {
  options.validate();
  const Rows a = transition(windows, options, kept, executor);
  Rows x = a;
  for (std::size_t t = 0; t < options.steps; ++t) {
    job.check();
    const bool last = t + 1 == options.steps;
    x = multiply(a, x, last ? options.kept : options.breadth, executor);
    job.advance(1);
  }
  return stored(x, options.kept);
}

}  // namespace halo::gnn
