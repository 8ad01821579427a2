#include "support/data_sets.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "halo/integration/io/npy_writer.h"
#include "halo/integration/io/vectors.h"

namespace halo::bench {
namespace {

// The first `max_rows` images of a gzipped IDX file of bytes.
std::optional<Matrix> read_idx_images(const std::string& path, std::size_t max_rows) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose);
  std::array<unsigned char, 16> header{};
  if (!file || gzread(file.get(), header.data(), 16) != 16) return std::nullopt;
  const auto number = [&](std::size_t at) {
    return (std::size_t{header[at]} << 24U) | (std::size_t{header[at + 1]} << 16U) |
           (std::size_t{header[at + 2]} << 8U) | std::size_t{header[at + 3]};
  };
  if (number(0) != 0x803) return std::nullopt;
  const std::size_t rows = std::min(max_rows, number(4)), cols = number(8) * number(12);
  Matrix images = Matrix::padded(rows, cols);
  std::vector<unsigned char> bytes(cols);
  for (std::size_t i = 0; i < rows; ++i) {
    const int read = gzread(file.get(), bytes.data(), static_cast<unsigned>(cols));
    if (read != static_cast<int>(cols)) return std::nullopt;
    std::copy(bytes.begin(), bytes.end(), images.row(i));
  }
  return images;
}

Matrix clusters(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  constexpr std::size_t kClusters = 200;
  Matrix matrix = Matrix::padded(rows, cols);
  for (std::size_t i = 0; i < rows; ++i) {
    Random centre(7, i % kClusters), noise(seed, i);
    for (std::size_t j = 0; j < cols; ++j) {
      matrix.row(i)[j] = static_cast<float>(centre.normal() + noise.normal());
    }
  }
  return matrix;
}

}  // namespace

namespace {

double distance_under(Metric metric, const float* a, const float* b, std::size_t dim) {
  double l2 = 0, dot = 0, bb = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double x = a[i], y = b[i];
    l2 += (x - y) * (x - y);
    dot += x * y;
    bb += y * y;
  }
  if (metric == Metric::kL2) return l2;
  return metric == Metric::kCosine ? -dot / std::sqrt(bb) : -dot;
}

// Whether the nearest of a few queries are as the ground truth says.
bool truth_is_under(Metric metric, const DataSet& set) {
  const std::size_t queries = std::min<std::size_t>(set.queries.rows(), 3);
  for (std::size_t q = 0; q < queries; ++q) {
    std::pair<double, std::size_t> best{INFINITY, 0};
    for (std::size_t i = 0; i < set.vectors.rows(); ++i) {
      best = std::min(
          best,
          {distance_under(metric, set.queries.row(q), set.vectors.row(i), set.vectors.cols()), i});
    }
    if (static_cast<std::int64_t>(best.second) != set.truth[q * set.truth_width]) return false;
  }
  return true;
}

Metric metric_of_truth(const DataSet& set, const std::filesystem::path& folder) {
  for (const Metric metric : {Metric::kCosine, Metric::kL2, Metric::kInnerProduct}) {
    if (truth_is_under(metric, set)) return metric;
  }
  throw Error(ErrorCode::kInvalidArgument,
              folder.string() + ": the ground truth fits neither cosine, l2 nor ip");
}

Matrix padded_copy(const MatrixView& view, bool unit_length) {
  Matrix copy = Matrix::padded(view.rows, view.cols);
  for (std::size_t i = 0; i < view.rows; ++i) {
    std::copy_n(view.row(i), view.cols, copy.row(i));
    if (unit_length) kernels::normalise(copy.row(i), view.cols);
  }
  return copy;
}

void find_truth(DataSet& set, std::size_t neighbours, const std::filesystem::path& cache,
                const Executor& executor) {
  set.truth_width = neighbours;
  const auto file = cache / (set.name + ".truth.npy");
  if (!cache.empty() && std::filesystem::exists(file)) {
    const io::IdMatrix rows = io::load_ground_truth(file);
    if (rows.rows >= set.queries.rows() && rows.cols == neighbours) {
      set.truth.assign(
          rows.values.begin(),
          rows.values.begin() + static_cast<std::ptrdiff_t>(set.queries.rows() * neighbours));
      return;
    }
  }
  const MatrixView vectors = set.vectors;
  set.truth.resize(set.queries.rows() * neighbours);
  executor.parallel_for(set.queries.rows(), 16, [&](std::size_t begin, std::size_t end) {
    std::vector<std::vector<std::pair<float, std::int64_t>>> found(end - begin);
    for (std::size_t i = 0; i < vectors.rows; ++i) {
      for (std::size_t q = begin; q < end; ++q) {
        // Between vectors of unit length l2 orders as cosine does.
        const float distance =
            set.metric == Metric::kInnerProduct
                ? -kernels::dot(set.queries.row(q), vectors.row(i), vectors.cols)
                : kernels::l2_squared(set.queries.row(q), vectors.row(i), vectors.cols);
        found[q - begin].emplace_back(distance, static_cast<std::int64_t>(i));
      }
    }
    for (std::size_t q = begin; q < end; ++q) {
      auto& nearest = found[q - begin];
      const auto last = nearest.begin() + static_cast<std::ptrdiff_t>(neighbours);
      std::partial_sort(nearest.begin(), last, nearest.end());
      for (std::size_t i = 0; i < neighbours; ++i) {
        set.truth[q * neighbours + i] = nearest[i].second;
      }
    }
  });
  if (!cache.empty()) io::write_npy(file, set.queries.rows(), neighbours, set.truth);
}

}  // namespace

DataSet load_default_set(std::size_t max_queries, std::size_t neighbours,
                         const std::filesystem::path& cache, const Executor& executor) {
  const std::string folder = "/usr/share/datasets/fashion-mnist/";
  auto vectors = read_idx_images(folder + "train-images-idx3-ubyte.gz", SIZE_MAX);
  auto queries = read_idx_images(folder + "t10k-images-idx3-ubyte.gz", max_queries);
  DataSet set;
  if (vectors && queries) {
    set.name = "fashion_mnist";
    set.vectors = *std::move(vectors);
    set.queries = *std::move(queries);
  } else {
    set.name = "clusters_20k_128";
    set.vectors = clusters(20000, 128, 8);
    set.queries = clusters(max_queries, 128, 9);
  }
  find_truth(set, neighbours, cache, executor);
  return set;
}

DataSet load_folder(const std::filesystem::path& folder, std::optional<Metric> metric) {
  constexpr std::size_t kNeighbours = 10;
  DataSet set;
  set.name = std::filesystem::canonical(folder).filename().string();
  set.vectors = io::load_vectors(folder / "base.npy");
  set.queries = io::load_vectors(folder / "queries.npy");
  const auto count = static_cast<std::int64_t>(set.vectors.rows());
  const auto refuse = [&](const char* why) {
    throw Error(ErrorCode::kInvalidArgument, folder.string() + ": " + why);
  };
  if (set.queries.cols() != set.vectors.cols()) refuse("base and queries do not fit each other");
  if (set.vectors.rows() < kNeighbours) refuse("fewer than 10 vectors");
  const bool has_truth = std::filesystem::exists(folder / "ground_truth.npy");
  if (has_truth) {
    io::IdMatrix truth = io::load_ground_truth(folder / "ground_truth.npy");
    if (truth.rows != set.queries.rows() || truth.cols < kNeighbours ||
        std::any_of(truth.values.begin(), truth.values.end(),
                    [&](std::int64_t row) { return row < 0 || row >= count; })) {
      refuse("the ground truth does not fit, or has fewer than 10 neighbours");
    }
    set.truth_width = truth.cols;
    set.truth = std::move(truth.values);
  }
  set.metric = metric ? *metric : has_truth ? metric_of_truth(set, folder) : Metric::kL2;
  const bool unit_length = set.metric == Metric::kCosine;
  set.vectors = padded_copy(set.vectors, unit_length);
  set.queries = padded_copy(set.queries, unit_length);
  if (!has_truth) find_truth(set, kNeighbours, "", Executor());
  return set;
}

}  // namespace halo::bench
