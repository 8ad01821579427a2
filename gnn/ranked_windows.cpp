#include "halo/gnn/ranked_windows.h"

#include <algorithm>
#include <utility>

#include "halo/core/kernels/distance.h"

namespace halo::gnn {
namespace {
constexpr std::size_t kRowsAtOnce = 128;
}

std::span<const std::uint32_t> RankedWindows::row(std::size_t i, std::size_t most) const {
  return std::span(nodes).subspan(i * width, std::min<std::size_t>(most, counts[i]));
}

std::span<const float> RankedWindows::row_similarities(std::size_t i, std::size_t most) const {
  return std::span(similarities).subspan(i * width, std::min<std::size_t>(most, counts[i]));
}

RankedWindows rank_windows(const MatrixView& x, const CsrView& wide, std::size_t width,
                           const Executor& executor) {
  RankedWindows windows;
  windows.width = width;
  windows.nodes.assign(x.rows * width, 0);
  windows.similarities.assign(x.rows * width, 0.0F);
  windows.counts.assign(x.rows, 0);
  executor.parallel_for(x.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<float, std::uint32_t>> order;
    for (std::size_t i = begin; i < end; ++i) {
      order.clear();
      for (const auto j : wide.row(i)) {
        order.emplace_back(-kernels::dot(x.row(i), x.row(j), x.cols), j);
      }
      const std::size_t kept = std::min(width, order.size());
      std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept),
                        order.end());
      for (std::size_t e = 0; e < kept; ++e) {
        windows.nodes[i * width + e] = order[e].second;
        windows.similarities[i * width + e] = -order[e].first;
      }
      windows.counts[i] = static_cast<std::uint32_t>(kept);
    }
  });
  return windows;
}

CsrMask mask_of(const RankedWindows& windows, std::size_t most,
                std::span<const std::uint8_t> kept) {
  std::vector<std::vector<std::uint32_t>> rows(windows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = windows.row(i, most);
    for (std::size_t e = 0; e < row.size(); ++e) {
      if (kept.empty() || kept[i * windows.width + e] != 0) rows[i].push_back(row[e]);
    }
    std::sort(rows[i].begin(), rows[i].end());
  }
  return CsrMask::from_rows(std::move(rows), windows.size());
}

double transitivity(const RankedWindows& windows, std::size_t most, std::size_t sample,
                    const Executor& executor) {
  const std::size_t step =
      std::max<std::size_t>(1, windows.size() / std::max<std::size_t>(1, sample));
  const std::size_t rows = (windows.size() + step - 1) / step;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> tally(rows);  // closed edges, edges
  std::vector<std::vector<std::size_t>> marks(executor.threads());  // by node: last window it is in
  executor.parallel_for_workers(rows, kRowsAtOnce,
                                [&](std::size_t worker, std::size_t begin, std::size_t end) {
                                  auto& mark = marks[worker];
                                  mark.resize(windows.size(), SIZE_MAX);
                                  for (std::size_t r = begin; r < end; ++r) {
                                    const auto window = windows.row(r * step, most);
                                    for (const auto j : window) mark[j] = r;
                                    for (const auto j : window) {
                                      const auto reached = windows.row(j, most);
                                      for (const auto k : reached)
                                        tally[r].first += mark[k] == r ? 1U : 0U;
                                      tally[r].second += reached.size();
                                    }
                                  }
                                });
  std::uint64_t closed = 0, all = 0;
  for (const auto& [c, a] : tally) {
    closed += c;
    all += a;
  }
  return all == 0 ? 0.0 : static_cast<double>(closed) / static_cast<double>(all);
}

}  // namespace halo::gnn
