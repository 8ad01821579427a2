#include "halo/index/node_order.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <numeric>
#include <span>

#include "halo/core/out_of_memory.h"

namespace halo {
namespace {

// Both directions of every link; a pair linked both ways appears twice, which does no harm here.
struct Undirected {
  explicit Undirected(const CsrView& links) : offsets(links.rows() + 1, 0) {
    for (std::size_t i = 0; i < links.rows(); ++i) {
      offsets[i + 1] += links.row(i).size();
      for (const std::uint32_t j : links.row(i)) ++offsets[j + 1];
    }
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    columns.resize(offsets.back());
    std::vector<std::uint64_t> next(offsets.begin(), offsets.end() - 1);
    for (std::size_t i = 0; i < links.rows(); ++i) {
      for (const std::uint32_t j : links.row(i)) {
        columns[next[i]++] = j;
        columns[next[j]++] = static_cast<std::uint32_t>(i);
      }
    }
  }
  std::span<const std::uint32_t> row(std::size_t i) const {
    return std::span(columns).subspan(offsets[i], degree(i));
  }
  std::size_t degree(std::size_t i) const { return offsets[i + 1] - offsets[i]; }

  std::vector<std::uint64_t> offsets;
  std::vector<std::uint32_t> columns;
};

class Walker {
 public:
  explicit Walker(const Undirected& graph)
      : graph_(graph), placed_(graph.offsets.size() - 1, 0), mark_(placed_.size(), 0) {}

  // Appends the component of `start` to `order`, breadth first from its rim.
  void place(std::uint32_t start, std::vector<std::uint32_t>& order) {
    const std::uint32_t root = rim(start);
    const std::size_t begin = order.size();
    order.push_back(root);
    placed_[root] = 1;
    for (std::size_t head = begin; head < order.size(); ++head) {
      const std::size_t first = order.size();
      for (const std::uint32_t next : graph_.row(order[head])) {
        if (placed_[next] == 0) {
          placed_[next] = 1;
          order.push_back(next);
        }
      }
      std::sort(order.begin() + static_cast<std::ptrdiff_t>(first), order.end(),
                [&](std::uint32_t a, std::uint32_t b) {
                  return std::pair(graph_.degree(a), a) < std::pair(graph_.degree(b), b);
                });
    }
  }
  bool placed(std::uint32_t node) const { return placed_[node] != 0; }

 private:
  // A node far from the middle: the last of a breadth-first walk, twice.
  std::uint32_t rim(std::uint32_t start) {
    for (int round = 0; round < 2; ++round) {
      ++epoch_;
      queue_.assign(1, start);
      mark_[start] = epoch_;
      std::size_t last_level = 0;
      for (std::size_t head = 0; head < queue_.size();) {
        last_level = head;
        for (const std::size_t level_end = queue_.size(); head < level_end; ++head) {
          for (const std::uint32_t next : graph_.row(queue_[head])) {
            if (mark_[next] != epoch_) {
              mark_[next] = epoch_;
              queue_.push_back(next);
            }
          }
        }
      }
      start = *std::min_element(queue_.begin() + static_cast<std::ptrdiff_t>(last_level),
                                queue_.end(), [&](std::uint32_t a, std::uint32_t b) {
                                  return std::pair(graph_.degree(a), a) <
                                         std::pair(graph_.degree(b), b);
                                });
    }
    return start;
  }

  const Undirected& graph_;
  std::vector<std::uint8_t> placed_;
  std::vector<std::uint32_t> mark_;
  std::vector<std::uint32_t> queue_;
  std::uint32_t epoch_ = 0;
};

}  // namespace

std::vector<std::uint32_t> reverse_cuthill_mckee(const CsrView& links) try {
  const Undirected graph(links);
  Walker walker(graph);
  std::vector<std::uint32_t> order;
  order.reserve(links.rows());
  for (std::uint32_t node = 0; node < links.rows(); ++node) {
    if (!walker.placed(node)) walker.place(node, order);
  }
  std::reverse(order.begin(), order.end());
  return order;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to order nodes"; });
}

double mean_link_length(const CsrView& links, const std::vector<std::uint32_t>& order) {
  if (links.entries() == 0) return 0.0;
  std::vector<std::int64_t> position(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) position[order[i]] = static_cast<std::int64_t>(i);
  double sum = 0.0;
  for (std::size_t i = 0; i < links.rows(); ++i) {
    for (const std::uint32_t j : links.row(i)) {
      sum += static_cast<double>(std::abs(position[i] - position[j]));
    }
  }
  return sum / static_cast<double>(links.entries());
}

}  // namespace halo
