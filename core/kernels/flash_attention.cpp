#include "halo/core/kernels/flash_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/flash_attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <cmath>

#include "halo/core/kernels/flash_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using flash::kLanes;
using flash::kNone;
using flash::kPanel;
using flash::kScoreVecs;
using flash_detail::Forward;
using flash_detail::padded;
using flash_detail::Range;
constexpr float kLog2E = 1.44269504F;
static_assert(flash_detail::kMaxPanel % kPanel == 0);

// Scores, which are those of e times log2(e), become 2^(score - max), down each column; max and sum
// take them in, and `factor` receives what earlier sums must be multiplied by. True where some
// factor is not 1. `largest` holds those of the range's rows before row `looked_at`.
HWY_INLINE bool OnlineSoftmaxColumns(float* tile, Range range, const float* largest,
                                     std::size_t looked_at, float* max, float* sum, float* factor) {
  const flash::Tag tag;
  hn::Vec<flash::Tag> high[kScoreVecs], total[kScoreVecs], shift[kScoreVecs];
  HALO_UNROLL
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    high[v] = hn::Max(hn::LoadU(tag, max + v * kLanes), hn::LoadU(tag, largest + v * kLanes));
    total[v] = hn::Zero(tag);
  }
  for (std::size_t r = looked_at; r < range.end; ++r) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kScoreVecs; ++v) {
      high[v] = hn::Max(high[v], hn::LoadU(tag, tile + r * kPanel + v * kLanes));
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
      float* at = tile + r * kPanel + v * kLanes;
      const auto e = simd::exp2(tag, hn::Sub(hn::LoadU(tag, at), shift[v]));
      hn::StoreU(e, tag, at);
      total[v] = hn::Add(total[v], e);
    }
  }
  bool changed = false;
  HALO_UNROLL
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    const auto by = simd::exp2(tag, hn::Sub(hn::LoadU(tag, max + v * kLanes), shift[v]));
    hn::StoreU(by, tag, factor + v * kLanes);
    hn::StoreU(hn::MulAdd(hn::LoadU(tag, sum + v * kLanes), by, total[v]), tag, sum + v * kLanes);
    hn::StoreU(high[v], tag, max + v * kLanes);
    changed = changed || !hn::AllTrue(tag, hn::Eq(by, hn::Set(tag, 1.0F)));
  }
  return changed;
}

// Queries [begin, end), at most f.columns of them.
template <class T>
void ForwardColumns(const Forward<T>& f, std::size_t begin, std::size_t end, float* workspace) {
  const std::size_t d = f.q.cols, dv = f.v.cols, width = padded(dv);
  flash_detail::Pieces pieces(workspace);
  float* columns = pieces.take(f.columns * padded(d));
  float* mixed = pieces.take(f.columns * width);
  float* keys = pieces.take(f.rows * padded(d));
  float* values = pieces.take(f.rows * width);
  float* tile = pieces.take(f.rows * flash_detail::kMaxPanel);
  float* max = pieces.take(f.columns);
  float* sum = pieces.take(f.columns);
  float* factor = pieces.take(f.columns);
  flash::PackPanels(f.q, begin, end, f.scale * kLog2E, columns);
  const std::size_t used = (end - begin + kPanel - 1) / kPanel * kPanel;
  std::fill_n(mixed, used * width, 0.0F);
  std::fill_n(max, used, kNone);
  std::fill_n(sum, used, 0.0F);

  flash::ForEachTile(
      begin, end, f.k.count, f.window, f.rows,
      [&](std::size_t row0, std::size_t count) HWY_ATTR {
        flash::PrefetchRows(f.k, row0, row0 + count);
        flash::PrefetchRows(f.v, row0, row0 + count);
        flash::CopyRows(f.k, row0, row0 + count, keys);
        flash::CopyPanels(f.v, row0, row0 + count, values);
      },
      [&](std::size_t row0, std::size_t count, std::size_t c, Range range) HWY_ATTR {
        const bool windowed = f.window != FlashOptions::kNoWindow;
        HWY_ALIGN float largest[kPanel];
        std::fill_n(largest, kPanel, kNone);
        flash::Scores(keys, columns + c * d, d, range, tile, windowed ? nullptr : largest);
        if (windowed) flash::MaskBand(row0, begin + c, f.window, range, tile);
        const std::size_t looked_at = windowed ? range.begin : flash::AfterWholeTiles(range);
        if (OnlineSoftmaxColumns(tile, range, largest, looked_at, max + c, sum + c, factor + c)) {
          for (std::size_t i = c; i < c + kPanel; ++i) {
            flash::ScaleRow(mixed + i * width, dv, factor[i]);
          }
        }
        flash::Mix(tile, values, count, range, dv, mixed + c * width, width);
      });
  for (std::size_t i = 0; i < end - begin; ++i) {
    flash::ScaleRow(mixed + i * width, dv, sum[i] == 0.0F ? 0.0F : 1.0F / sum[i]);
    std::memcpy(f.out + (begin + i) * f.out_stride, mixed + i * width, dv * sizeof(float));
    if (f.lse != nullptr)
      f.lse[begin + i] = sum[i] == 0.0F ? kNone : max[i] / kLog2E + std::log(sum[i]);
  }
}

void FlashForwardFloat(const Forward<float>& f, std::size_t begin, std::size_t end,
                       float* workspace) {
  ForwardColumns(f, begin, end, workspace);
}
void FlashForwardHalf(const Forward<Bf16>& f, std::size_t begin, std::size_t end,
                      float* workspace) {
  ForwardColumns(f, begin, end, workspace);
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/bf16.h"
#include "halo/core/kernels/flash_bf16.h"
#include "halo/core/kernels/flash_blocks.h"

namespace halo::kernels {

HWY_EXPORT(FlashForwardFloat);
HWY_EXPORT(FlashForwardHalf);

namespace {

template <class T>
struct PairKernel {
  void operator()(const flash_detail::Forward<T>& f, std::size_t begin, std::size_t end,
                  float* workspace) const {
    bf16::flash_forward(f, begin, end, workspace);
  }
};

template <class T, class Keys, class Kernel>
void forward(const MatrixView& q, const Keys& k, const Keys& v, const FlashOptions& options,
             const MatrixSpan& out, std::span<float> lse, const Executor& executor, Kernel kernel) {
  flash_detail::check(q, k, v, options);
  assert(out.rows == q.rows && out.cols == v.cols);
  assert(lse.empty() || lse.size() == options.heads * q.rows);
  const std::size_t heads = options.heads, d = q.cols / heads, dv = out.cols / heads;
  const std::size_t columns =
      flash_detail::forward_columns(q.rows, heads, d, dv, executor.threads());
  flash_detail::for_each_block(
      heads, q.rows, columns, flash_detail::forward_floats(columns, d, dv), executor,
      [&](std::size_t head, std::size_t begin, std::size_t end, float* workspace) {
        const flash_detail::Forward<T> f{flash_detail::head_of(q, head, heads),
                                         flash_detail::head_of(k, head, heads),
                                         flash_detail::head_of(v, head, heads),
                                         options.scale,
                                         flash_detail::window_of(options, q.rows),
                                         flash_detail::columns_from(out.data, head * dv),
                                         out.stride,
                                         lse.empty() ? nullptr : lse.data() + head * q.rows,
                                         columns,
                                         flash_detail::forward_rows(d, dv)};
        kernel(f, begin, end, workspace);
      });
}

}  // namespace

void flash_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                             const FlashOptions& options, const MatrixSpan& out,
                             std::span<float> lse, const Executor& executor) {
  if (options.half && bf16::in_hardware()) {
    return forward<float>(q, k, v, options, out, lse, executor, PairKernel<float>());
  }
  forward<float>(q, k, v, options, out, lse, executor, HWY_DYNAMIC_DISPATCH(FlashForwardFloat));
}

void flash_attention_forward(const MatrixView& q, const HalfView& k, const HalfView& v,
                             const FlashOptions& options, const MatrixSpan& out,
                             std::span<float> lse, const Executor& executor) {
  if (bf16::in_hardware()) {
    return forward<Bf16>(q, k, v, options, out, lse, executor, PairKernel<Bf16>());
  }
  forward<Bf16>(q, k, v, options, out, lse, executor, HWY_DYNAMIC_DISPATCH(FlashForwardHalf));
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
