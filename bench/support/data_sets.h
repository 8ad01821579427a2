// The data that benchmarks run on, with the true neighbours of their queries.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/index/metric.h"

namespace halo::bench {

struct DataSet {
  std::string name;
  Metric metric = Metric::kL2;
  Matrix vectors;  ///< of unit length under kCosine
  Matrix queries;  ///< as many as have true neighbours; never among the vectors
  std::size_t truth_width = 0;
  std::vector<std::int64_t> truth;  ///< queries x truth_width rows of `vectors`, nearest first
};

/// Fashion-MNIST under l2 where Debian's dataset-fashion-mnist is installed, seeded clusters
/// otherwise; the first `max_queries` queries. Their `neighbours` true neighbours are found
/// exhaustively, or read from `cache` where a run before left them there ("" for no cache).
DataSet load_default_set(std::size_t max_queries, std::size_t neighbours,
                         const std::filesystem::path& cache, const Executor& executor);

/// base.npy, queries.npy and ground_truth.npy of a folder. `metric`: nothing for the one (l2,
/// cosine or ip) that the ground truth was made with. Without a ground truth the nearest 10 are
/// found exhaustively, under l2 unless `metric` says another. Throws halo::Error where files do not
/// fit each other, or no metric fits.
DataSet load_folder(const std::filesystem::path& folder,
                    std::optional<Metric> metric = std::nullopt);

}  // namespace halo::bench
