#include "halo/core/kernels/flash_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/flash_attention_backward.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include "halo/core/kernels/flash_tiles-inl.h"

#ifndef HALO_CORE_KERNELS_FLASH_ATTENTION_BACKWARD_ONCE
#define HALO_CORE_KERNELS_FLASH_ATTENTION_BACKWARD_ONCE
namespace halo::kernels::flash_detail {

constexpr std::size_t kBackwardColumns = 96;
constexpr std::size_t kBackwardRows = 64;
constexpr std::size_t kWidestPanel = 48;  // columns of the widest tile: AVX-512's

// Of the two products whose entries meet in a gradient of the scores: columns (x: queries or keys,
// y: the output's gradients or values) against rows (the other side).
struct Backward {
  Rows<float> column_x, column_y, row_x, row_y;
  float scale;
  std::size_t window;
  const float *lse, *delta;  // a query each
  bool columns_are_queries;
  float* d_x;  // gradient of column_x
  std::size_t d_x_stride;
  float* d_y;  // gradient of column_y where the columns are keys
  std::size_t d_y_stride;
};

inline std::size_t backward_floats(std::size_t d, std::size_t dv) {
  return 2 * (kBackwardColumns + kBackwardRows) * (padded(d) + padded(dv)) +
         2 * kBackwardRows * kWidestPanel + 2 * kBackwardColumns;
}

}  // namespace halo::kernels::flash_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using flash::kLanes;
using flash::kNone;
using flash::kPanel;
using flash_detail::Backward;
using flash_detail::kBackwardColumns;
using flash_detail::kBackwardRows;
using flash_detail::padded;
using flash_detail::Range;
static_assert(kBackwardColumns % kPanel == 0 && kPanel <= flash_detail::kWidestPanel);

// Scores become probabilities e^(score - lse), and `slopes` (the gradients by probability) the
// gradients by score: p (slope - delta). lse and delta belong to columns or to rows.
template <bool kByColumn>
HWY_INLINE void Gradients(float* tile, float* slopes, Range range, const float* lse,
                          const float* delta) {
  const flash::Tag tag;
  for (std::size_t v = 0; v < flash::kScoreVecs; ++v) {
    auto shift = hn::LoadU(tag, lse + (kByColumn ? v * kLanes : 0));
    auto mean = hn::LoadU(tag, delta + (kByColumn ? v * kLanes : 0));
    for (std::size_t r = range.begin; r < range.end; ++r) {
      if constexpr (!kByColumn) {
        shift = hn::Set(tag, lse[r]);
        mean = hn::Set(tag, delta[r]);
      }
      float* at = tile + r * kPanel + v * kLanes;
      float* slope = slopes + r * kPanel + v * kLanes;
      const auto p = simd::exp(tag, hn::Sub(hn::LoadU(tag, at), shift));
      hn::StoreU(p, tag, at);
      hn::StoreU(hn::Mul(p, hn::Sub(hn::LoadU(tag, slope), mean)), tag, slope);
    }
  }
}

// A query that saw nothing (lse = -inf) or does not exist has no probabilities: e^-inf.
void CopyLse(const Backward& b, std::size_t from, std::size_t to, std::size_t up_to, float* lse,
             float* delta) {
  for (std::size_t i = 0; i < up_to; ++i) {
    const bool real = from + i < to && b.lse[from + i] != kNone;
    lse[i] = real ? b.lse[from + i] : -kNone;
    delta[i] = real ? b.delta[from + i] : 0.0F;
  }
}

// Columns [begin, end), at most kBackwardColumns of them.
void FlashBackward(const Backward& b, std::size_t begin, std::size_t end, float* workspace) {
  const std::size_t d = b.column_x.cols, dv = b.column_y.cols;
  const std::size_t width_x = padded(d), width_y = padded(dv);
  flash_detail::Pieces pieces(workspace);
  float* columns_x = pieces.take(kBackwardColumns * width_x);
  float* columns_y = pieces.take(kBackwardColumns * width_y);
  float* d_x = pieces.take(kBackwardColumns * width_x);
  float* d_y = pieces.take(kBackwardColumns * width_y);
  float* rows_x = pieces.take(kBackwardRows * width_x);
  float* rows_y = pieces.take(kBackwardRows * width_y);
  float* mixed_x = pieces.take(kBackwardRows * width_x);
  float* mixed_y = pieces.take(kBackwardRows * width_y);
  float* tile = pieces.take(kBackwardRows * flash_detail::kWidestPanel);
  float* slopes = pieces.take(kBackwardRows * flash_detail::kWidestPanel);
  float* lse = pieces.take(kBackwardColumns);
  float* delta = pieces.take(kBackwardColumns);
  flash::PackPanels(b.column_x, begin, end, b.scale, columns_x);
  flash::PackPanels(b.column_y, begin, end, 1.0F, columns_y);
  const std::size_t used = (end - begin + kPanel - 1) / kPanel * kPanel;
  std::fill_n(d_x, used * width_x, 0.0F);
  if (b.columns_are_queries) {
    CopyLse(b, begin, end, used, lse, delta);
  } else {
    std::fill_n(d_y, used * width_y, 0.0F);
  }

  flash::ForEachTile(
      begin, end, b.row_x.count, b.window, kBackwardRows,
      [&](std::size_t row0, std::size_t count) HWY_ATTR {
        flash::CopyRows(b.row_x, row0, row0 + count, rows_x);
        flash::CopyRows(b.row_y, row0, row0 + count, rows_y);
        flash::CopyPanels(b.row_x, row0, row0 + count, mixed_x);
        if (b.columns_are_queries) return;
        flash::CopyPanels(b.row_y, row0, row0 + count, mixed_y);
        CopyLse(b, row0, row0 + count, kBackwardColumns, lse, delta);
      },
      [&](std::size_t row0, std::size_t count, std::size_t c, Range range) HWY_ATTR {
        flash::Scores(rows_x, columns_x + c * d, d, range, tile);
        flash::Scores(rows_y, columns_y + c * dv, dv, range, slopes);
        if (b.window != FlashOptions::kNoWindow) {
          flash::MaskBand(row0, begin + c, b.window, range, tile);
        }
        if (b.columns_are_queries) {
          Gradients<true>(tile, slopes, range, lse + c, delta + c);
        } else {
          Gradients<false>(tile, slopes, range, lse, delta);
          flash::Mix(tile, mixed_y, count, range, dv, d_y + c * width_y, width_y);
        }
        flash::Mix(slopes, mixed_x, count, range, d, d_x + c * width_x, width_x);
      });
  for (std::size_t i = 0; i < end - begin; ++i) {
    flash::ScaleRow(d_x + i * width_x, d, b.scale);
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
#include "halo/core/kernels/flash_blocks.h"

namespace halo::kernels {

HWY_EXPORT(FlashBackward);

void flash_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const FlashOptions& options, const MatrixView& out,
                              std::span<const float> lse, const MatrixView& d_out,
                              const FlashGradients& gradients, const Executor& executor) {
  using flash_detail::columns_from;
  using flash_detail::head_of;
  flash_detail::check(q, k, v, options);
  assert(out.rows == q.rows && out.cols == v.cols);
  assert(d_out.rows == q.rows && d_out.cols == v.cols && lse.size() == options.heads * q.rows);
  const std::size_t heads = options.heads, n = q.rows, d = q.cols / heads, dv = v.cols / heads;
  const auto block = HWY_DYNAMIC_DISPATCH(FlashBackward);

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
    flash_detail::for_each_block(
        heads, columns, flash_detail::kBackwardColumns, flash_detail::backward_floats(d, dv),
        executor, [&](std::size_t head, std::size_t begin, std::size_t end, float* workspace) {
          const auto queries = head_of(q, head, heads), keys = head_of(k, head, heads);
          const auto values = head_of(v, head, heads), slopes = head_of(d_out, head, heads);
          const MatrixSpan& d_x = columns_are_queries ? gradients.q : gradients.k;
          const flash_detail::Backward b{columns_are_queries ? queries : keys,
                                         columns_are_queries ? slopes : values,
                                         columns_are_queries ? keys : queries,
                                         columns_are_queries ? values : slopes,
                                         options.scale,
                                         flash_detail::window_of(options, n),
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
