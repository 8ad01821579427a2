#include "quality_data.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/integration/cli/zero_vectors.h"
#include "halo/integration/io/vectors.h"

namespace halo::bench {
namespace {

Matrix unit_rows(const MatrixView& view) {
  Matrix copy = Matrix::padded(view.rows, view.cols);
  for (std::size_t i = 0; i < view.rows; ++i) {
    std::copy_n(view.row(i), view.cols, copy.row(i));
    kernels::normalise(copy.row(i), view.cols);
  }
  return copy;
}

void require_rows(const std::filesystem::path& path, std::size_t rows, std::size_t expected) {
  if (rows == expected) return;
  throw Error(ErrorCode::kInvalidArgument, path.string() + ": " + std::to_string(rows) +
                                               " labels for " + std::to_string(expected) +
                                               " vectors");
}

Relevance read_relevance(const std::filesystem::path& folder, std::size_t base_rows,
                         std::size_t all_queries, std::size_t queries) {
  const auto qrels = folder / "qrels.txt";
  if (std::filesystem::exists(qrels)) {
    std::vector<io::Judgement> judgements = io::load_qrels(qrels, all_queries);
    std::erase_if(judgements, [&](const io::Judgement& j) { return j.query >= queries; });
    return Relevance::from_judgements(judgements, queries);
  }
  const std::vector<std::int64_t> labels = io::load_labels(folder / "base_labels.npy");
  require_rows(folder / "base_labels.npy", labels.size(), base_rows);
  std::vector<std::int64_t> query_labels = io::load_labels(folder / "query_labels.npy");
  require_rows(folder / "query_labels.npy", query_labels.size(), all_queries);
  query_labels.resize(queries);
  std::vector<Id> ids(base_rows);
  std::iota(ids.begin(), ids.end(), Id{0});
  return Relevance::from_labels(ids, labels, query_labels);
}

}  // namespace

QualityData load_quality_data(const std::filesystem::path& folder, std::size_t max_queries) {
  QualityData data;
  data.name = std::filesystem::weakly_canonical(folder).filename().string();
  Matrix base = io::load_vectors(folder / "base.npy");
  const Matrix queries = io::load_vectors(folder / "queries.npy", io::VectorRole::kQuery);
  if (base.cols() != queries.cols()) {
    throw Error(ErrorCode::kDimensionMismatch,
                folder.string() + ": base has " + std::to_string(base.cols()) +
                    " dimensions, queries have " + std::to_string(queries.cols()));
  }
  const std::size_t wanted =
      max_queries == 0 ? queries.rows() : std::min(max_queries, queries.rows());
  data.relevance = read_relevance(folder, base.rows(), queries.rows(), wanted);
  cli::leave_out_zero_vectors(base, data.ids, "auto");
  if (data.ids.empty()) {
    data.ids.resize(base.rows());
    std::iota(data.ids.begin(), data.ids.end(), Id{0});
  }
  data.base = unit_rows(base);
  data.queries = unit_rows(queries.view().sub_rows(0, wanted));
  return data;
}

}  // namespace halo::bench
