#include "halo/integration/cli/zero_vectors.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "halo/core/error.h"

namespace halo::cli {

ZeroVectors leave_out_zero_vectors(Matrix& vectors, std::vector<Id>& ids,
                                   const std::string& policy) {
  ZeroVectors zero;
  for (std::size_t i = 0; i < vectors.rows(); ++i) {
    const auto row = vectors.row_span(i);
    if (std::all_of(row.begin(), row.end(), [](float x) { return x == 0.0F; })) {
      zero.rows.push_back(i);
    }
  }
  if (zero.rows.empty()) return zero;
  const bool few = zero.rows.size() <= vectors.rows() / kZeroVectorShare;
  if (policy == "refuse" || (policy == "auto" && !few) || zero.rows.size() == vectors.rows()) {
    throw Error(ErrorCode::kZeroVector, std::to_string(zero.rows.size()) + " of " +
                                            std::to_string(vectors.rows()) +
                                            " vectors have no length, so no cosine, row " +
                                            std::to_string(zero.rows.front()) +
                                            " first; --zero-vectors skip leaves them out");
  }
  if (ids.empty()) {
    ids.resize(vectors.rows());
    std::iota(ids.begin(), ids.end(), Id{0});
  }
  Matrix kept(vectors.rows() - zero.rows.size(), vectors.cols());
  std::vector<Id> kept_ids;
  for (std::size_t i = 0; i < vectors.rows(); ++i) {
    if (std::binary_search(zero.rows.begin(), zero.rows.end(), i)) continue;
    std::copy_n(vectors.row(i), vectors.cols(), kept.row(kept_ids.size()));
    kept_ids.push_back(ids[i]);
  }
  vectors = std::move(kept);
  ids = std::move(kept_ids);
  return zero;
}

}  // namespace halo::cli
