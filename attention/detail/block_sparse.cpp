#include "halo/attention/detail/block_sparse.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <vector>

#include "halo/attention/detail/row_blocks.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::attention::detail {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// Keys that one call of the kernel sees: neighbouring rows [begin, end) of k and v, several of
// them gathered.
struct Segment {
  std::vector<Range> runs;
  std::size_t keys = 0;
};

// Keys gathered at one time: 256 KB of k and v.
std::size_t segment_keys(std::size_t d, std::size_t dv) {
  return std::max<std::size_t>(65536 / std::max<std::size_t>(d + dv, 1), 16);
}

// The keys of the blocks `columns` as segments: a run of at least `most` keys is one by itself
// (cut into parts of `most` where `cut`), shorter ones share one of at most `most`.
std::vector<Segment> segments_of(std::span<const std::uint32_t> columns, const BlockMask& mask,
                                 std::size_t most, bool cut) {
  std::vector<Segment> segments;
  const auto add = [&](Range run) {
    const std::size_t keys = run.end - run.begin;
    if (segments.empty() || segments.back().keys + keys > most) segments.emplace_back();
    segments.back().runs.push_back(run);
    segments.back().keys += keys;
  };
  for (std::size_t c = 0; c < columns.size();) {
    std::size_t last = c;
    while (last + 1 < columns.size() && columns[last + 1] == columns[last] + 1) ++last;
    Range run{columns[c] * mask.block_size(),
              std::min(mask.n(), (columns[last] + std::size_t{1}) * mask.block_size())};
    for (; cut && run.end - run.begin > most; run.begin += most) {
      add({run.begin, run.begin + most});
    }
    add(run);
    c = last + 1;
  }
  return segments;
}

void copy_runs(const Segment& segment, const MatrixView& from, const MatrixSpan& to) {
  std::size_t r = 0;
  for (const Range& run : segment.runs) {
    for (std::size_t i = run.begin; i < run.end; ++i, ++r) {
      std::copy_n(from.row(i), from.cols, to.row(r));
    }
  }
}

void add_runs(const Segment& segment, const MatrixView& from, const MatrixSpan& to) {
  std::size_t r = 0;
  for (const Range& run : segment.runs) {
    for (std::size_t i = run.begin; i < run.end; ++i, ++r) {
      kernels::axpy(1.0F, from.row(r), to.row(i), to.cols);
    }
  }
}

// The rows of a segment: where they are, or gathered into `room`.
MatrixView rows_of(const Segment& segment, const MatrixView& m, Matrix& room) {
  if (segment.runs.size() == 1) return m.sub_rows(segment.runs[0].begin, segment.keys);
  if (room.rows() < segment.keys) room = Matrix::padded(segment.keys, m.cols);
  const MatrixSpan rows = room.span().sub_rows(0, segment.keys);
  copy_runs(segment, m, rows);
  return rows;
}

// out and lse take in another part of the same rows' keys.
void join(const MatrixView& part, std::span<const float> part_lse, const MatrixSpan& out,
          std::span<float> lse) {
  for (std::size_t i = 0; i < out.rows; ++i) {
    const float high = std::max(lse[i], part_lse[i]);
    if (high == kNone) continue;
    const float a = std::exp(lse[i] - high), b = std::exp(part_lse[i] - high), sum = a + b;
    kernels::scale(a / sum, out.row(i), out.cols);
    kernels::axpy(b / sum, part.row(i), out.row(i), out.cols);
    lse[i] = high + std::log(sum);
  }
}

struct Head {
  MatrixView q, k, v;
};

Head head_of(const MatrixView& q, const MatrixView& k, const MatrixView& v, std::size_t h,
             std::size_t heads) {
  const std::size_t d = q.cols / heads, dv = v.cols / heads;
  return {q.sub_cols(h * d, d), k.sub_cols(h * d, d), v.sub_cols(h * dv, dv)};
}

// Room for one thread.
struct Room {
  Matrix k, v, out;
  std::vector<float> lse;
};

void forward_rows(const Head& head, const std::vector<Segment>& segments, Range rows,
                  const kernels::FlashOptions& options, const MatrixSpan& out, std::span<float> lse,
                  Room& room) {
  const std::size_t count = rows.end - rows.begin;
  const MatrixView q = head.q.sub_rows(rows.begin, count);
  for (std::size_t i = 0; segments.empty() && i < count; ++i) {
    std::fill_n(out.row(i), out.cols, 0.0F);
    lse[i] = kNone;
  }
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const MatrixView k = rows_of(segments[s], head.k, room.k);
    const MatrixView v = rows_of(segments[s], head.v, room.v);
    if (s == 0) {
      kernels::flash_attention_forward(q, k, v, options, out, lse, calling_thread());
      continue;
    }
    if (room.out.rows() < count) room.out = Matrix::padded(count, out.cols);
    room.lse.resize(count);
    const MatrixSpan part = room.out.span().sub_rows(0, count);
    kernels::flash_attention_forward(q, k, v, options, part, room.lse, calling_thread());
    join(part, room.lse, out, lse);
  }
}

struct HeadSlopes {
  MatrixView out, d_out;
  std::span<const float> lse;
  MatrixSpan d_q, d_k, d_v;
};

void zero(const MatrixSpan& m) {
  for (std::size_t i = 0; i < m.rows; ++i) std::fill_n(m.row(i), m.cols, 0.0F);
}

void backward_head(const Head& head, const HeadSlopes& slopes, const BlockMask& mask, float scale) {
  const std::size_t size = mask.block_size(), most = segment_keys(head.q.cols, head.v.cols);
  zero(slopes.d_q);
  zero(slopes.d_k);
  zero(slopes.d_v);
  Room room;
  Matrix d_q = Matrix::padded(std::min(size, mask.n()), head.q.cols);
  Matrix d_k = Matrix::padded(most, head.k.cols), d_v = Matrix::padded(most, head.v.cols);
  for (std::size_t b = 0; b < mask.blocks().rows(); ++b) {
    const std::size_t begin = b * size, count = std::min(size, mask.n() - begin);
    for (const Segment& segment : segments_of(mask.blocks().row(b), mask, most, true)) {
      const MatrixSpan part_q = d_q.span().sub_rows(0, count);
      const MatrixSpan part_k = d_k.span().sub_rows(0, segment.keys);
      const MatrixSpan part_v = d_v.span().sub_rows(0, segment.keys);
      kernels::flash_attention_backward(
          head.q.sub_rows(begin, count), rows_of(segment, head.k, room.k),
          rows_of(segment, head.v, room.v), {1, scale}, slopes.out.sub_rows(begin, count),
          slopes.lse.subspan(begin, count), slopes.d_out.sub_rows(begin, count),
          {part_q, part_k, part_v}, calling_thread());
      add_runs({{{begin, begin + count}}, count}, part_q, slopes.d_q);
      add_runs(segment, part_k, slopes.d_k);
      add_runs(segment, part_v, slopes.d_v);
    }
  }
}

}  // namespace

void block_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const kernels::FlashOptions& options, const BlockMask& mask,
                     const MatrixSpan& out, std::span<float> lse, const Executor& executor) {
  const std::size_t heads = options.heads;
  const kernels::FlashOptions one_head{.scale = options.scale, .half = options.half};
  assert(q.rows == mask.n() && k.rows == mask.n() && v.rows == mask.n() && out.rows == mask.n());
  assert(lse.size() == heads * mask.n());
  const std::size_t n = mask.n(), dv = v.cols / heads;
  std::vector<Room> rooms(executor.threads());
  const std::size_t block =
      std::clamp<std::size_t>(mask.block_size(), 1, std::max<std::size_t>(n, 1));
  for_each_block(executor, heads, n, block,
                 [&](std::size_t worker, std::size_t h, std::size_t begin, std::size_t end) {
                   const auto columns = mask.blocks().row(begin / mask.block_size());
                   forward_rows(head_of(q, k, v, h, heads),
                                segments_of(columns, mask, segment_keys(q.cols / heads, dv), false),
                                {begin, end}, one_head,
                                out.sub_rows(begin, end - begin).sub_cols(h * dv, dv),
                                lse.subspan(h * n + begin, end - begin), rooms[worker]);
                 });
}

void block_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              std::size_t heads, const BlockMask& mask, float scale,
                              const MatrixView& out, std::span<const float> lse,
                              const MatrixView& d_out, const MatrixSpan& d_q, const MatrixSpan& d_k,
                              const MatrixSpan& d_v, const Executor& executor) {
  const std::size_t n = mask.n(), d = q.cols / heads, dv = v.cols / heads;
  executor.parallel_for(heads, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t h = first; h < last; ++h) {
      backward_head(head_of(q, k, v, h, heads),
                    {out.sub_cols(h * dv, dv), d_out.sub_cols(h * dv, dv), lse.subspan(h * n, n),
                     d_q.sub_cols(h * d, d), d_k.sub_cols(h * d, d), d_v.sub_cols(h * dv, dv)},
                    mask, scale);
    }
  });
}

}  // namespace halo::attention::detail
