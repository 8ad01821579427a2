#include "halo/attention/sparse_mask.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <utility>

#include "halo/attention/detail/row_blocks.h"
#include "halo/core/error.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, "mask: " + what);
}

// n rows of at most `longest` columns: refused before anything is allocated.
void check_size(std::size_t n, std::size_t longest) {
  if (n > std::size_t{std::numeric_limits<std::uint32_t>::max()}) {
    refuse("a sequence of " + std::to_string(n) + " has more positions than 32 bits can number");
  }
  if (n != 0 && longest > kMaxMaskEntries / n) {
    refuse(std::to_string(n) + " rows of up to " + std::to_string(longest) +
           " columns are more than the " + std::to_string(kMaxMaskEntries) +
           " entries a mask may store");
  }
}

void append_range(std::size_t begin, std::size_t end, std::vector<std::uint32_t>& columns) {
  for (std::size_t j = begin; j < end; ++j) columns.push_back(static_cast<std::uint32_t>(j));
}

// Every row: its window and the ascending, unique `extra` columns.
CsrMask window_and(std::size_t n, std::size_t window, const std::vector<std::uint32_t>& extra) {
  const std::size_t longest = detail::longest_window(n, window);
  check_size(n, std::min(n, longest + extra.size()));
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(n + 1);
  std::vector<std::uint32_t> columns;
  columns.reserve(n * std::min(n, longest + extra.size()));
  for (std::size_t i = 0; i < n; ++i) {
    const detail::Range w = detail::window_of(i, window, n);
    const auto inside = std::lower_bound(extra.begin(), extra.end(), w.begin);
    const auto after = std::lower_bound(inside, extra.end(), w.end);
    columns.insert(columns.end(), extra.begin(), inside);
    append_range(w.begin, w.end, columns);
    columns.insert(columns.end(), after, extra.end());
    offsets.push_back(columns.size());
  }
  return {std::move(offsets), std::move(columns), n};
}

// `count` distinct values below n (Floyd; Bentley 1987), ascending. taken[j] == stamp marks a
// drawn value, so the array is never cleared.
void sample(Random& random, std::size_t n, std::size_t count, std::uint64_t stamp,
            std::vector<std::uint64_t>& taken, std::vector<std::uint32_t>& out) {
  out.clear();
  for (std::size_t j = n - count; j < n; ++j) {
    std::size_t pick = random.below(j + 1);
    if (taken[pick] == stamp) pick = j;
    taken[pick] = stamp;
    out.push_back(static_cast<std::uint32_t>(pick));
  }
  std::sort(out.begin(), out.end());
}

void check_scores(const TensorSpan& scores, std::size_t rows, std::size_t columns) {
  if (scores.n != rows || scores.dim != columns) {
    throw Error(ErrorCode::kDimensionMismatch,
                "mask: scores of " + std::to_string(scores.n) + " x " + std::to_string(scores.dim) +
                    " under a mask of " + std::to_string(rows) + " x " + std::to_string(columns));
  }
}

}  // namespace

std::vector<std::uint32_t> checked_indices(std::span<const std::uint32_t> indices, std::size_t n,
                                           const std::string& where) {
  std::vector<std::uint32_t> sorted(indices.begin(), indices.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  if (!sorted.empty() && sorted.back() >= n) {
    throw Error(ErrorCode::kInvalidArgument, where + ": index " + std::to_string(sorted.back()) +
                                                 " is outside a sequence of " + std::to_string(n));
  }
  return sorted;
}

CsrMask SparseMask::local_window(std::size_t n, std::size_t window) {
  return window_and(n, window, {});
}

CsrMask SparseMask::global_indices(std::size_t n, std::span<const std::uint32_t> indices) {
  const std::vector<std::uint32_t> row = checked_indices(indices, n, "mask: global indices");
  check_size(n, row.size());
  std::vector<std::uint64_t> offsets(n + 1);
  std::vector<std::uint32_t> columns;
  columns.reserve(n * row.size());
  for (std::size_t i = 0; i < n; ++i) {
    columns.insert(columns.end(), row.begin(), row.end());
    offsets[i + 1] = columns.size();
  }
  return {std::move(offsets), std::move(columns), n};
}

CsrMask SparseMask::local_global(std::size_t n, std::size_t window,
                                 std::span<const std::uint32_t> indices) {
  return window_and(n, window, checked_indices(indices, n, "mask: global indices"));
}

CsrMask SparseMask::block_diagonal(std::size_t n, std::size_t block_size) {
  if (block_size == 0) refuse("block_size must be at least 1");
  check_size(n, std::min(n, block_size));
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(n + 1);
  std::vector<std::uint32_t> columns;
  columns.reserve(n * std::min(n, block_size));
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t begin = i / block_size * block_size;
    append_range(begin, block_size < n - begin ? begin + block_size : n, columns);
    offsets.push_back(columns.size());
  }
  return {std::move(offsets), std::move(columns), n};
}

CsrMask SparseMask::strided(std::size_t n, std::size_t window, std::size_t stride) {
  if (stride == 0) refuse("stride must be at least 1");
  check_size(n, 1);
  std::vector<std::uint32_t> extra;
  for (std::size_t j = 0; j < n; j = stride < n - j ? j + stride : n) {
    extra.push_back(static_cast<std::uint32_t>(j));
  }
  return window_and(n, window, extra);
}

CsrMask SparseMask::random(std::size_t n, double sparsity, std::uint64_t seed) {
  if (!(sparsity >= 0.0 && sparsity <= 1.0)) {
    refuse("sparsity must be within [0, 1], got " + std::to_string(sparsity));
  }
  // The small term keeps a share such as 0.29 of 100, which is 28.999... in binary, at 29.
  const auto count =
      std::min(n, static_cast<std::size_t>(std::floor(sparsity * static_cast<double>(n) + 1e-6)));
  check_size(n, count);
  const bool draw_absent = count > n / 2;
  const std::size_t drawn = draw_absent ? n - count : count;
  std::vector<std::uint64_t> offsets(n + 1);
  std::vector<std::uint32_t> columns;
  columns.reserve(n * count);
  std::vector<std::uint64_t> taken(n, 0);
  std::vector<std::uint32_t> picks;
  for (std::size_t i = 0; i < n; ++i) {
    Random stream(seed, i);
    sample(stream, n, drawn, i + 1, taken, picks);
    if (draw_absent) {
      for (std::size_t j = 0; j < n; ++j) {
        if (taken[j] != i + 1) columns.push_back(static_cast<std::uint32_t>(j));
      }
    } else {
      columns.insert(columns.end(), picks.begin(), picks.end());
    }
    offsets[i + 1] = columns.size();
  }
  return {std::move(offsets), std::move(columns), n};
}

Matrix SparseMask::to_attention_mask(const CsrView& mask) {
  const std::size_t rows = mask.rows();
  if (rows != 0 && mask.num_columns > kMaxDenseMaskPositions / rows) {
    refuse("a dense copy of " + std::to_string(rows) + " x " + std::to_string(mask.num_columns) +
           " is over the limit of " + std::to_string(kMaxDenseMaskPositions) +
           " positions: use the CSR mask itself");
  }
  Matrix dense(rows, mask.num_columns);
  for (std::size_t i = 0; i < mask.rows(); ++i) {
    std::fill_n(dense.row(i), mask.num_columns, kMinusInfinity);
    for (const std::uint32_t j : mask.row(i)) dense.row(i)[j] = 0.0F;
  }
  return dense;
}

void SparseMask::apply_to_scores(const TensorSpan& scores, const CsrView& mask) {
  check_scores(scores, mask.rows(), mask.num_columns);
  for (std::size_t b = 0; b < scores.batch; ++b) {
    const MatrixSpan item = scores.item(b);
    for (std::size_t i = 0; i < item.rows; ++i) {
      float* row = item.row(i);
      std::size_t next = 0;
      for (const std::uint32_t j : mask.row(i)) {
        std::fill(row + next, row + j, kMinusInfinity);
        next = std::size_t{j} + 1;
      }
      std::fill(row + next, row + item.cols, kMinusInfinity);
    }
  }
}

void SparseMask::apply_to_scores(const TensorSpan& scores, const MatrixView& mask) {
  check_scores(scores, mask.rows, mask.cols);
  for (std::size_t b = 0; b < scores.batch; ++b) {
    const MatrixSpan item = scores.item(b);
    for (std::size_t i = 0; i < item.rows; ++i) {
      for (std::size_t j = 0; j < item.cols; ++j) item.row(i)[j] += mask.row(i)[j];
    }
  }
}

double SparseMask::sparsity(const CsrView& mask) {
  const double positions = static_cast<double>(mask.rows()) * static_cast<double>(mask.num_columns);
  return positions == 0 ? 0.0 : static_cast<double>(mask.entries()) / positions;
}

std::string SparseMask::visualize(const CsrView& mask) {
  constexpr std::size_t kMaxShown = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(mask.rows(), kMaxShown); ++i) {
    const auto row = mask.row(i);
    for (std::size_t j = 0; j < std::min(mask.num_columns, kMaxShown); ++j) {
      text += std::binary_search(row.begin(), row.end(), j) ? "\u2588" : "\u00b7";
    }
    text += '\n';
  }
  return text;
}

MaskPicture SparseMask::visualize_picture(const CsrView& mask, std::size_t max_side) {
  if (max_side == 0) refuse("a picture needs max_side of at least 1");
  const std::size_t rows = mask.rows(), columns = mask.num_columns;
  MaskPicture picture{std::min(columns, max_side), std::min(rows, max_side), {}};
  std::vector<std::uint64_t> counts(picture.width * picture.height, 0);
  picture.pixels.assign(counts.size(), 0);
  // Cell (y, x) covers the rows r with floor(r height / rows) = y, and columns likewise.
  const auto first = [](std::size_t cell, std::size_t cells, std::size_t size) {
    return (cell * size + cells - 1) / cells;
  };
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t y = i * picture.height / rows;
    for (const std::uint32_t j : mask.row(i)) {
      ++counts[y * picture.width + j * picture.width / columns];
    }
  }
  for (std::size_t y = 0; y < picture.height; ++y) {
    const std::size_t cell_rows =
        first(y + 1, picture.height, rows) - first(y, picture.height, rows);
    for (std::size_t x = 0; x < picture.width; ++x) {
      const std::size_t cell_columns =
          first(x + 1, picture.width, columns) - first(x, picture.width, columns);
      const std::uint64_t count = counts[y * picture.width + x];
      if (count == 0) continue;
      const double share =
          static_cast<double>(count) / static_cast<double>(cell_rows * cell_columns);
      picture.pixels[y * picture.width + x] =
          static_cast<std::uint8_t>(std::lround(55.0 + 200.0 * share));
    }
  }
  return picture;
}

void SparseMask::visualize_pgm(const CsrView& mask, std::ostream& out, std::size_t max_side) {
  const MaskPicture picture = visualize_picture(mask, max_side);
  out << "P5\n" << picture.width << ' ' << picture.height << "\n255\n";
  for (const std::uint8_t pixel : picture.pixels) out.put(static_cast<char>(pixel));
  if (!out) throw Error(ErrorCode::kIo, "mask: the picture could not be written");
}

}  // namespace halo::attention
