#include "halo/index/recall.h"

#include <algorithm>
#include <string>
#include <vector>

#include "halo/core/error.h"

namespace halo {

double recall_at(std::size_t k, const SearchResults& found, const SearchResults& exact) {
  if (found.found.size() != exact.found.size()) {
    throw Error(ErrorCode::kInvalidArgument, "recall: results of " +
                                                 std::to_string(found.found.size()) + " and " +
                                                 std::to_string(exact.found.size()) + " queries");
  }
  if (k == 0) throw Error(ErrorCode::kInvalidArgument, "recall: k is 0");
  double sum = 0.0;
  std::size_t counted = 0;
  std::vector<Node> truth;
  for (std::size_t q = 0; q < exact.found.size(); ++q) {
    const auto nearest = exact.of(q);
    truth.clear();
    for (const Neighbour& n : nearest.first(std::min(k, nearest.size()))) truth.push_back(n.node);
    if (truth.empty()) continue;  // nothing to find
    std::sort(truth.begin(), truth.end());
    const auto results = found.of(q);
    const auto first = results.first(std::min(k, results.size()));
    const auto hits = std::count_if(first.begin(), first.end(), [&](const Neighbour& n) {
      return std::binary_search(truth.begin(), truth.end(), n.node);
    });
    sum += static_cast<double>(hits) / static_cast<double>(truth.size());
    ++counted;
  }
  return counted == 0 ? 1.0 : sum / static_cast<double>(counted);
}

}  // namespace halo
