#include "support/data_sets.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "halo/core/random.h"

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

DataSet load_data_set(std::size_t max_queries) {
  const std::string folder = "/usr/share/datasets/fashion-mnist/";
  auto vectors = read_idx_images(folder + "train-images-idx3-ubyte.gz", SIZE_MAX);
  auto queries = read_idx_images(folder + "t10k-images-idx3-ubyte.gz", max_queries);
  if (vectors && queries) {
    return {"fashion_mnist", *std::move(vectors), *std::move(queries)};
  }
  return {"clusters_20k_128", clusters(20000, 128, 8), clusters(max_queries, 128, 9)};
}

}  // namespace halo::bench
