#include "halo/core/kernels/flash_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/flash_attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "halo/core/kernels/simd-inl.h"

#ifndef HALO_CORE_KERNELS_FLASH_ONCE
#define HALO_CORE_KERNELS_FLASH_ONCE
namespace halo::kernels::flash_detail {

// A task owns kColumns queries (or, for the keys' gradients, keys): the columns of every tile of
// scores, so that a softmax over keys runs down a tile, lane by lane. The other side streams past
// in blocks of rows.
constexpr std::size_t kColumns = 96;
constexpr std::size_t kForwardRows = 128;
constexpr std::size_t kBackwardRows = 64;
constexpr std::size_t kPad = 64;  // what any ISA's panels may need behind a row

// One head's rows of a matrix.
struct Rows {
  const float* data = nullptr;
  std::size_t stride = 0, count = 0, cols = 0;
  const float* row(std::size_t i) const { return data + i * stride; }
};

struct Forward {
  Rows q, k, v;
  float scale;
  std::size_t window;
  float* out;
  std::size_t out_stride;
  float* lse;  // may be null
};

// Of the two products whose entries meet in a gradient of the scores: columns (x: queries or keys,
// y: the output's gradients or values) against rows (the other side).
struct Backward {
  Rows column_x, column_y, row_x, row_y;
  float scale;
  std::size_t window;
  const float *lse, *delta;  // a query each
  bool columns_are_queries;
  float* d_x;  // gradient of column_x
  std::size_t d_x_stride;
  float* d_y;  // gradient of column_y where the columns are keys
  std::size_t d_y_stride;
};

inline std::size_t padded(std::size_t cols) { return (cols + kPad - 1) / kPad * kPad; }

inline std::size_t forward_floats(std::size_t d, std::size_t dv) {
  return (kColumns + kForwardRows) * (padded(d) + padded(dv)) + kForwardRows * kColumns +
         3 * kColumns;
}
inline std::size_t backward_floats(std::size_t d, std::size_t dv) {
  return 2 * (kColumns + kBackwardRows) * (padded(d) + padded(dv)) + 2 * kBackwardRows * kColumns +
         2 * kColumns;
}

// Hands out a workspace piece by piece; every piece is a multiple of 16 floats.
class Pieces {
 public:
  explicit Pieces(float* start) : next_(start) {}
  float* take(std::size_t floats) {
    float* piece = next_;
    next_ += floats;
    return piece;
  }

 private:
  float* next_;
};

// The rows that some of columns [begin, end) see, within a window and `count` rows.
struct Range {
  std::size_t begin, end;
};
inline Range seen(std::size_t begin, std::size_t end, std::size_t window, std::size_t count) {
  return {begin > window ? begin - window : 0,
          end < count && window < count - end ? end + window : count};
}

}  // namespace halo::kernels::flash_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using flash_detail::Backward;
using flash_detail::Forward;
using flash_detail::kColumns;
using flash_detail::padded;
using flash_detail::Pieces;
using flash_detail::Range;
using flash_detail::Rows;
using flash_detail::seen;

using Tag = hn::ScalableTag<float>;
constexpr std::size_t kLanes = hn::MaxLanes(Tag());
constexpr float kNone = -std::numeric_limits<float>::infinity();

// Tiles of scores: kScoreRows x kPanel; tiles of outputs: kMixRows x kMixCols. Both fill the
// registers; kMixRows divides kPanel, which divides kColumns.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3;
constexpr std::size_t kScoreRows = kManyRegisters ? 8 : 4;
constexpr std::size_t kScoreVecs = 3;
constexpr std::size_t kPanel = kScoreVecs * kLanes;
constexpr std::size_t kMixRows = kLanes == 1 ? 3 : kManyRegisters ? 12 : 6;
constexpr std::size_t kMixVecs = 2;
constexpr std::size_t kMixCols = kMixVecs * kLanes;
static_assert(kColumns % kPanel == 0 && kPanel % kMixRows == 0);
static_assert(flash_detail::kPad % kMixCols == 0);

// Columns of tiles: scale * from[begin, end), as panels [cols][kPanel], zeros behind.
void PackColumns(const Rows& from, std::size_t begin, std::size_t end, float scale, float* out) {
  for (std::size_t c0 = begin; c0 < end; c0 += kPanel, out += from.cols * kPanel) {
    const std::size_t count = std::min(kPanel, end - c0);
    if (count < kPanel) std::fill_n(out, from.cols * kPanel, 0.0F);
    for (std::size_t c = 0; c < count; ++c) {
      const float* HWY_RESTRICT row = from.row(c0 + c);
      for (std::size_t p = 0; p < from.cols; ++p) out[p * kPanel + c] = scale * row[p];
    }
  }
}

// Rows of tiles: from[begin, end), one under the other without gaps, then zeros up to a whole tile.
void CopyRows(const Rows& from, std::size_t begin, std::size_t end, float* out) {
  for (std::size_t i = begin; i < end; ++i, out += from.cols) {
    std::memcpy(out, from.row(i), from.cols * sizeof(float));
  }
  const std::size_t behind = (kScoreRows - (end - begin) % kScoreRows) % kScoreRows;
  std::fill_n(out, behind * from.cols, 0.0F);
}

// Rows to be mixed: from[begin, end) as panels [rows][kMixCols], zeros behind the last column.
void CopyPanels(const Rows& from, std::size_t begin, std::size_t end, float* out) {
  for (std::size_t c = 0; c < from.cols; c += kMixCols) {
    const std::size_t count = std::min(kMixCols, from.cols - c);
    for (std::size_t i = begin; i < end; ++i, out += kMixCols) {
      if (count == kMixCols) {
        const float* HWY_RESTRICT row = from.row(i) + c;
        HALO_UNROLL
        for (std::size_t v = 0; v < kMixVecs; ++v) {
          hn::StoreU(hn::LoadU(Tag(), row + v * kLanes), Tag(), out + v * kLanes);
        }
      } else {
        std::memcpy(out, from.row(i) + c, count * sizeof(float));
        std::fill_n(out + count, kMixCols - count, 0.0F);
      }
    }
  }
}

// tile[begin ... end)[kPanel of kColumns] = rows . a panel of columns; also writes up to a whole
// tile of rows.
void Scores(const float* rows, const float* panel, std::size_t depth, Range range, float* tile) {
  const Tag tag;
  for (std::size_t r = range.begin; r < range.end; r += kScoreRows) {
    float* to = tile + r * kColumns;
    simd::tile_product<kScoreRows, kScoreVecs, true>(
        tag, depth, rows + r * depth, depth, panel, kPanel, [&](const auto& acc) HWY_ATTR {
          HALO_UNROLL
          for (std::size_t i = 0; i < kScoreRows; ++i) {
            HALO_UNROLL
            for (std::size_t v = 0; v < kScoreVecs; ++v) {
              hn::StoreU(acc[i][v], tag, to + i * kColumns + v * kLanes);
            }
          }
        });
  }
}

// Scores of pairs further apart than the window become -inf. Row 0 of the tile is row `row0`, its
// columns start at `column0`.
void MaskBand(std::size_t row0, std::size_t column0, std::size_t window, Range range, float* tile) {
  for (std::size_t r = range.begin; r < range.end; ++r) {
    const std::size_t row = row0 + r;
    const std::size_t first = row > window ? row - window : 0;
    if (first > column0) {
      std::fill_n(tile + r * kColumns, std::min(kPanel, first - column0), kNone);
    }
    if (row + window + 1 < column0 + kPanel) {
      const std::size_t from = row + window + 1 > column0 ? row + window + 1 - column0 : 0;
      std::fill_n(tile + r * kColumns + from, kPanel - from, kNone);
    }
  }
}

// out[c] += sum over range's rows r of tile[r][c] * mixed[r], for the columns of one panel.
// `mixed` holds panels of `rows` rows; out has `width` floats a column.
void Mix(const float* tile, const float* mixed, std::size_t rows, Range range, std::size_t cols,
         float* out, std::size_t width) {
  const Tag tag;
  for (std::size_t c = 0; c < cols; c += kMixCols) {
    const float* b = mixed + c * rows + range.begin * kMixCols;
    for (std::size_t g = 0; g < kPanel; g += kMixRows) {
      float* to = out + g * width + c;
      simd::tile_product<kMixRows, kMixVecs, false>(
          tag, range.end - range.begin, tile + range.begin * kColumns + g, kColumns, b, kMixCols,
          [&](const auto& acc) HWY_ATTR {
            HALO_UNROLL
            for (std::size_t i = 0; i < kMixRows; ++i) {
              HALO_UNROLL
              for (std::size_t v = 0; v < kMixVecs; ++v) {
                float* at = to + i * width + v * kLanes;
                hn::StoreU(hn::Add(hn::LoadU(tag, at), acc[i][v]), tag, at);
              }
            }
          });
    }
  }
}

// Scores become e^(score - max), down each column; max and sum take them in, and `factor` receives
// what earlier sums must be multiplied by. True where some factor is not 1.
bool OnlineSoftmaxColumns(float* tile, Range range, float* max, float* sum, float* factor) {
  const Tag tag;
  hn::Vec<Tag> high[kScoreVecs], total[kScoreVecs], shift[kScoreVecs];
  HALO_UNROLL
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    high[v] = hn::LoadU(tag, max + v * kLanes);
    total[v] = hn::Zero(tag);
  }
  for (std::size_t r = range.begin; r < range.end; ++r) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kScoreVecs; ++v) {
      high[v] = hn::Max(high[v], hn::LoadU(tag, tile + r * kColumns + v * kLanes));
    }
  }
  HALO_UNROLL
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    // A column that has seen nothing yet: -inf less 0 stays -inf, less -inf would be NaN.
    shift[v] = hn::IfThenZeroElse(hn::Eq(high[v], hn::Set(tag, kNone)), high[v]);
  }
  for (std::size_t r = range.begin; r < range.end; ++r) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kScoreVecs; ++v) {
      float* at = tile + r * kColumns + v * kLanes;
      const auto e = simd::exp(tag, hn::Sub(hn::LoadU(tag, at), shift[v]));
      hn::StoreU(e, tag, at);
      total[v] = hn::Add(total[v], e);
    }
  }
  bool changed = false;
  HALO_UNROLL
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    const auto by = simd::exp(tag, hn::Sub(hn::LoadU(tag, max + v * kLanes), shift[v]));
    hn::StoreU(by, tag, factor + v * kLanes);
    hn::StoreU(hn::MulAdd(hn::LoadU(tag, sum + v * kLanes), by, total[v]), tag, sum + v * kLanes);
    hn::StoreU(high[v], tag, max + v * kLanes);
    changed = changed || !hn::AllTrue(tag, hn::Eq(by, hn::Set(tag, 1.0F)));
  }
  return changed;
}

HWY_INLINE void ScaleRow(float* row, std::size_t width, float by) {
  const Tag tag;
  const auto factor = hn::Set(tag, by);
  for (std::size_t c = 0; c < width; c += kMixCols) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kMixVecs; ++v) {
      float* at = row + c + v * kLanes;
      hn::StoreU(hn::Mul(hn::LoadU(tag, at), factor), tag, at);
    }
  }
}

// The rows of a block [row0, row0 + count) that a panel's columns see, counted from row0.
Range Within(std::size_t column, std::size_t window, std::size_t row0, std::size_t count) {
  if (window >= row0 + count + column + kPanel) return {0, count};
  const Range all = seen(column, column + kPanel, window, row0 + count);
  const std::size_t begin = std::max(all.begin, row0) - row0;
  const std::size_t end = std::max(all.end, row0) - row0;
  // A panel of scores is computed in whole tiles of rows.
  return {std::min(begin / kScoreRows * kScoreRows, end), end};
}

// Queries [begin, end), at most kColumns of them.
void ForwardBlock(const Forward& f, std::size_t begin, std::size_t end, float* workspace) {
  constexpr std::size_t kRows = flash_detail::kForwardRows;
  const std::size_t d = f.q.cols, dv = f.v.cols, width = padded(dv);
  Pieces pieces(workspace);
  float* columns = pieces.take(kColumns * padded(d));
  float* mixed = pieces.take(kColumns * width);
  float* keys = pieces.take(kRows * padded(d));
  float* values = pieces.take(kRows * width);
  float* tile = pieces.take(kRows * kColumns);
  float* max = pieces.take(kColumns);
  float* sum = pieces.take(kColumns);
  float* factor = pieces.take(kColumns);
  PackColumns(f.q, begin, end, f.scale, columns);
  const std::size_t used = (end - begin + kPanel - 1) / kPanel * kPanel;
  std::fill_n(mixed, used * width, 0.0F);
  std::fill_n(max, used, kNone);
  std::fill_n(sum, used, 0.0F);

  const bool banded = f.window != FlashOptions::kNoWindow;
  const Range all = banded ? seen(begin, end, f.window, f.k.count) : Range{0, f.k.count};
  for (std::size_t row0 = all.begin; row0 < all.end; row0 += kRows) {
    const std::size_t count = std::min(kRows, all.end - row0);
    CopyRows(f.k, row0, row0 + count, keys);
    CopyPanels(f.v, row0, row0 + count, values);
    for (std::size_t c = 0; c < used; c += kPanel) {
      const Range range = banded ? Within(begin + c, f.window, row0, count) : Range{0, count};
      if (range.begin == range.end) continue;
      Scores(keys, columns + c * d, d, range, tile + c);
      if (banded) MaskBand(row0, begin + c, f.window, range, tile + c);
      if (OnlineSoftmaxColumns(tile + c, range, max + c, sum + c, factor + c)) {
        for (std::size_t i = c; i < c + kPanel; ++i) ScaleRow(mixed + i * width, dv, factor[i]);
      }
      Mix(tile + c, values, count, range, dv, mixed + c * width, width);
    }
  }
  for (std::size_t i = 0; i < end - begin; ++i) {
    ScaleRow(mixed + i * width, dv, sum[i] == 0.0F ? 0.0F : 1.0F / sum[i]);
    std::memcpy(f.out + (begin + i) * f.out_stride, mixed + i * width, dv * sizeof(float));
    if (f.lse != nullptr) f.lse[begin + i] = sum[i] == 0.0F ? kNone : max[i] + std::log(sum[i]);
  }
}

// Scores become probabilities e^(score - lse), and `slopes` (the gradients by probability) the
// gradients by score: p (slope - delta). lse and delta belong to columns or to rows.
template <bool kByColumn>
void Gradients(float* tile, float* slopes, Range range, const float* lse, const float* delta) {
  const Tag tag;
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    auto shift = hn::LoadU(tag, lse + (kByColumn ? v * kLanes : 0));
    auto mean = hn::LoadU(tag, delta + (kByColumn ? v * kLanes : 0));
    for (std::size_t r = range.begin; r < range.end; ++r) {
      if constexpr (!kByColumn) {
        shift = hn::Set(tag, lse[r]);
        mean = hn::Set(tag, delta[r]);
      }
      float* at = tile + r * kColumns + v * kLanes;
      float* slope = slopes + r * kColumns + v * kLanes;
      const auto p = simd::exp(tag, hn::Sub(hn::LoadU(tag, at), shift));
      hn::StoreU(p, tag, at);
      hn::StoreU(hn::Mul(p, hn::Sub(hn::LoadU(tag, slope), mean)), tag, slope);
    }
  }
}

// Columns [begin, end), at most kColumns of them.
void BackwardBlock(const Backward& b, std::size_t begin, std::size_t end, float* workspace) {
  constexpr std::size_t kRows = flash_detail::kBackwardRows;
  const std::size_t d = b.column_x.cols, dv = b.column_y.cols;
  const std::size_t width_x = padded(d), width_y = padded(dv);
  Pieces pieces(workspace);
  float* columns_x = pieces.take(kColumns * width_x);
  float* columns_y = pieces.take(kColumns * width_y);
  float* d_x = pieces.take(kColumns * width_x);
  float* d_y = pieces.take(kColumns * width_y);
  float* rows_x = pieces.take(kRows * width_x);
  float* rows_y = pieces.take(kRows * width_y);
  float* mixed_x = pieces.take(kRows * width_x);
  float* mixed_y = pieces.take(kRows * width_y);
  float* tile = pieces.take(kRows * kColumns);
  float* slopes = pieces.take(kRows * kColumns);
  float* lse = pieces.take(kColumns);
  float* delta = pieces.take(kColumns);
  PackColumns(b.column_x, begin, end, b.scale, columns_x);
  PackColumns(b.column_y, begin, end, 1.0F, columns_y);
  const std::size_t used = (end - begin + kPanel - 1) / kPanel * kPanel;
  std::fill_n(d_x, used * width_x, 0.0F);
  if (!b.columns_are_queries) std::fill_n(d_y, used * width_y, 0.0F);

  // A query that saw nothing (lse = -inf) or does not exist has no probabilities: e^-inf.
  const auto copy_lse = [&](std::size_t from, std::size_t to, std::size_t up_to) {
    for (std::size_t i = 0; i < up_to; ++i) {
      const bool real = from + i < to && b.lse[from + i] != kNone;
      lse[i] = real ? b.lse[from + i] : -kNone;
      delta[i] = real ? b.delta[from + i] : 0.0F;
    }
  };
  if (b.columns_are_queries) copy_lse(begin, end, used);

  const bool banded = b.window != FlashOptions::kNoWindow;
  const Range all = banded ? seen(begin, end, b.window, b.row_x.count) : Range{0, b.row_x.count};
  for (std::size_t row0 = all.begin; row0 < all.end; row0 += kRows) {
    const std::size_t count = std::min(kRows, all.end - row0);
    CopyRows(b.row_x, row0, row0 + count, rows_x);
    CopyRows(b.row_y, row0, row0 + count, rows_y);
    CopyPanels(b.row_x, row0, row0 + count, mixed_x);
    if (!b.columns_are_queries) {
      CopyPanels(b.row_y, row0, row0 + count, mixed_y);
      copy_lse(row0, row0 + count, kColumns);
    }
    for (std::size_t c = 0; c < used; c += kPanel) {
      const Range range = banded ? Within(begin + c, b.window, row0, count) : Range{0, count};
      if (range.begin == range.end) continue;
      Scores(rows_x, columns_x + c * d, d, range, tile + c);
      Scores(rows_y, columns_y + c * dv, dv, range, slopes + c);
      if (banded) MaskBand(row0, begin + c, b.window, range, tile + c);
      if (b.columns_are_queries) {
        Gradients<true>(tile + c, slopes + c, range, lse + c, delta + c);
      } else {
        Gradients<false>(tile + c, slopes + c, range, lse, delta);
        Mix(tile + c, mixed_y, count, range, dv, d_y + c * width_y, width_y);
      }
      Mix(slopes + c, mixed_x, count, range, d, d_x + c * width_x, width_x);
    }
  }
  for (std::size_t i = 0; i < end - begin; ++i) {
    ScaleRow(d_x + i * width_x, d, b.scale);
    std::memcpy(b.d_x + (begin + i) * b.d_x_stride, d_x + i * width_x, d * sizeof(float));
    if (!b.columns_are_queries) {
      std::memcpy(b.d_y + (begin + i) * b.d_y_stride, d_y + i * width_y, dv * sizeof(float));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/distance.h"

namespace halo::kernels {

HWY_EXPORT(ForwardBlock);
HWY_EXPORT(BackwardBlock);

namespace {

using flash_detail::Backward;
using flash_detail::Forward;
using flash_detail::kColumns;
using flash_detail::Rows;

// An empty matrix has no data to point into.
template <class T>
T* columns_from(T* data, std::size_t column) {
  return data == nullptr ? nullptr : data + column;
}

Rows head_of(const MatrixView& m, std::size_t head, std::size_t heads) {
  const std::size_t cols = m.cols / heads;
  return {columns_from(m.data, head * cols), m.stride, m.rows, cols};
}

// Runs body(head, begin, end, workspace) over blocks of columns of every head.
template <class Body>
void for_each_block(std::size_t heads, std::size_t columns, std::size_t floats,
                    const Executor& executor, const Body& body) {
  const std::size_t blocks = (columns + kColumns - 1) / kColumns;
  const Matrix workspace = Matrix::padded(executor.threads(), floats);
  executor.parallel_for_workers(heads * blocks, 1,
                                [&](std::size_t worker, std::size_t first, std::size_t last) {
                                  for (std::size_t t = first; t < last; ++t) {
                                    const std::size_t begin = t % blocks * kColumns;
                                    body(t / blocks, begin, std::min(columns, begin + kColumns),
                                         const_cast<float*>(workspace.row(worker)));
                                  }
                                });
}

void check([[maybe_unused]] const MatrixView& q, [[maybe_unused]] const MatrixView& k,
           [[maybe_unused]] const MatrixView& v, [[maybe_unused]] const FlashOptions& options) {
  assert(options.heads > 0 && q.cols % options.heads == 0 && v.cols % options.heads == 0);
  assert(k.cols == q.cols && v.rows == k.rows);
  assert(options.window == FlashOptions::kNoWindow || q.rows == k.rows);
}

}  // namespace

void flash_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                             const FlashOptions& options, const MatrixSpan& out,
                             std::span<float> lse, const Executor& executor) {
  check(q, k, v, options);
  assert(out.rows == q.rows && out.cols == v.cols);
  assert(lse.empty() || lse.size() == options.heads * q.rows);
  const std::size_t heads = options.heads;
  // A window wider than the sequence is none.
  const std::size_t window = options.window < q.rows ? options.window : FlashOptions::kNoWindow;
  const auto block = HWY_DYNAMIC_DISPATCH(ForwardBlock);
  for_each_block(heads, q.rows, flash_detail::forward_floats(q.cols / heads, v.cols / heads),
                 executor,
                 [&](std::size_t head, std::size_t begin, std::size_t end, float* workspace) {
                   const Forward f{head_of(q, head, heads),
                                   head_of(k, head, heads),
                                   head_of(v, head, heads),
                                   options.scale,
                                   window,
                                   columns_from(out.data, head * (out.cols / heads)),
                                   out.stride,
                                   lse.empty() ? nullptr : lse.data() + head * q.rows};
                   block(f, begin, end, workspace);
                 });
}

void flash_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const FlashOptions& options, const MatrixView& out,
                              std::span<const float> lse, const MatrixView& d_out,
                              const FlashGradients& gradients, const Executor& executor) {
  check(q, k, v, options);
  assert(out.rows == q.rows && out.cols == v.cols);
  assert(d_out.rows == q.rows && d_out.cols == v.cols && lse.size() == options.heads * q.rows);
  const std::size_t heads = options.heads, n = q.rows, d = q.cols / heads, dv = v.cols / heads;
  const std::size_t window = options.window < n ? options.window : FlashOptions::kNoWindow;
  const auto block = HWY_DYNAMIC_DISPATCH(BackwardBlock);
  const std::size_t floats = flash_detail::backward_floats(d, dv);

  Matrix delta(heads, n);  // d_out_i . out_i: the mean slope of row i
  const PairFn dot_of = dot_kernel();
  executor.parallel_for(n, 256, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (std::size_t h = 0; h < heads; ++h) {
        delta.row(h)[i] = dot_of(d_out.row(i) + h * dv, out.row(i) + h * dv, dv);
      }
    }
  });
  const auto run = [&](bool columns_are_queries, std::size_t columns) {
    for_each_block(heads, columns, floats, executor,
                   [&](std::size_t head, std::size_t begin, std::size_t end, float* workspace) {
                     const Rows queries = head_of(q, head, heads), keys = head_of(k, head, heads);
                     const Rows values = head_of(v, head, heads),
                                slopes = head_of(d_out, head, heads);
                     const MatrixSpan& d_x = columns_are_queries ? gradients.q : gradients.k;
                     const Backward b{columns_are_queries ? queries : keys,
                                      columns_are_queries ? slopes : values,
                                      columns_are_queries ? keys : queries,
                                      columns_are_queries ? values : slopes,
                                      options.scale,
                                      window,
                                      lse.data() + head * n,
                                      delta.row(head),
                                      columns_are_queries,
                                      columns_from(d_x.data, head * d),
                                      d_x.stride,
                                      columns_from(gradients.v.data, head * dv),
                                      gradients.v.stride};
                     block(b, begin, end, workspace);
                   });
  };
  run(true, n);
  run(false, k.rows);
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
