#include "halo/index/detail/row_scorer.h"

#include <algorithm>
#include <cmath>

namespace halo::detail {
namespace {

constexpr std::size_t kLine = 64;

std::size_t value_bytes(CodeKind kind) {
  switch (kind) {
    case CodeKind::kF32:
      return sizeof(float);
    case CodeKind::kBf16:
    case CodeKind::kF16:
      return sizeof(Bf16);
    case CodeKind::kInt8:
      break;
  }
  return 1;
}

std::size_t padded_bytes(CodeKind kind, std::size_t dim) {
  return (dim * value_bytes(kind) + kLine - 1) / kLine * kLine;
}

// Whole registers of every instruction set; what is beyond the vector is zero.
std::size_t padded_values(CodeKind kind, std::size_t dim) {
  const std::size_t unit = kind == CodeKind::kInt8 ? 32 : 16;
  return (dim + unit - 1) / unit * unit;
}

kernels::RowsFn rows_kernel(CodeKind kind, bool l2) {
  switch (kind) {
    case CodeKind::kF32:
      return l2 ? kernels::l2_rows_f32() : kernels::dot_rows_f32();
    case CodeKind::kBf16:
      return l2 ? kernels::l2_rows_bf16() : kernels::dot_rows_bf16();
    case CodeKind::kF16:
      return l2 ? kernels::l2_rows_f16() : kernels::dot_rows_f16();
    case CodeKind::kInt8:
      break;
  }
  return l2 ? kernels::l2_rows_int8() : kernels::dot_rows_int8();
}

kernels::CodePairFn pair_kernel(CodeKind kind, bool l2) {
  switch (kind) {
    case CodeKind::kF32:
      return l2 ? kernels::l2_pair_f32() : kernels::dot_pair_f32();
    case CodeKind::kBf16:
      return l2 ? kernels::l2_pair_bf16() : kernels::dot_pair_bf16();
    case CodeKind::kF16:
      return l2 ? kernels::l2_pair_f16() : kernels::dot_pair_f16();
    case CodeKind::kInt8:
      break;
  }
  return l2 ? kernels::l2_pair_int8() : kernels::dot_pair_int8();
}

// Everything but the query. Short rows are asked for whole, several rows ahead; of long rows the
// first lines, from where the hardware follows the stream.
RowScorer scorer_of(Metric metric, CodeKind kind, std::size_t dim, const std::byte* base,
                    std::size_t stride) {
  constexpr std::size_t kShortLines = 4, kMostLines = 8;
  const std::size_t lines = padded_bytes(kind, dim) / kLine;
  const bool l2 = metric == Metric::kL2;
  RowScorer scorer;
  scorer.kernel = rows_kernel(kind, l2);
  scorer.rows.base = base;
  scorer.rows.stride = stride;
  scorer.rows.width = padded_values(kind, dim);
  scorer.rows.prefetch_lines = std::min(kMostLines, lines);
  scorer.rows.prefetch_ahead = lines <= kShortLines ? 4 : 2;
  scorer.factor = l2 ? 1.0F : -1.0F;
  scorer.bias = l2 ? 0.0F : 1.0F;
  return scorer;
}

// The query as int16 values and the unit they are counted in.
void quantise_query(Metric metric, const Int8Quantiser& quantiser, std::size_t dim,
                    const float* query, std::int16_t* values, RowScorer& scorer) {
  if (metric == Metric::kL2) {
    kernels::quantise_int16(query, quantiser.offset.data(), 1 / quantiser.scale,
                            kernels::l2_query_limit(scorer.rows.width), dim, values);
    scorer.factor = quantiser.scale * quantiser.scale;
    return;
  }
  const std::int16_t limit = kernels::dot_query_limit(scorer.rows.width);
  float greatest = 0;
  for (std::size_t i = 0; i < dim; ++i) greatest = std::max(greatest, std::fabs(query[i]));
  // A query too small for a finite inverse is as good as 0.
  const float unit = greatest > 1e-30F ? greatest / static_cast<float>(limit) : 1.0F;
  kernels::quantise_int16(query, quantiser.offset.data(), 1 / unit, limit, dim, values);
  scorer.factor = -quantiser.scale * unit;
}

}  // namespace

RowScorer f32_scorer(Metric metric, const MatrixView& vectors, const float* query) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): rows are counted in bytes
  const auto* base = reinterpret_cast<const std::byte*>(vectors.data);
  RowScorer scorer =
      scorer_of(metric, CodeKind::kF32, vectors.cols, base, vectors.stride * sizeof(float));
  scorer.query = query;
  return scorer;
}

RowScorer code_scorer(Metric metric, const VectorCodes& codes, std::size_t dim, const float* query,
                      QueryBuffer& buffer) {
  return StoredRows(metric, codes.kind(), dim)
      .query_scorer(codes.data(), codes.stride(), codes.quantiser(), query, buffer);
}

StoredRows::StoredRows(Metric m, CodeKind k, std::size_t d)
    : metric(m),
      kind(k),
      dim(d),
      width(padded_values(k, d)),
      bytes(padded_bytes(k, d)),
      pair(pair_kernel(k, m == Metric::kL2)) {
  set_scale(1);
}

void StoredRows::set_scale(float scale) {
  const bool l2 = metric == Metric::kL2;
  factor = (l2 ? 1.0F : -1.0F) * scale * scale;
  bias = l2 ? 0.0F : 1.0F;
}

RowScorer StoredRows::query_scorer(const std::byte* base, std::size_t stride,
                                   const Int8Quantiser& quantiser, const float* query,
                                   QueryBuffer& buffer) const {
  RowScorer scorer = scorer_of(metric, kind, dim, base, stride);
  scorer.query = query;
  if (kind == CodeKind::kInt8) {
    std::int16_t* values = buffer.resize(scorer.rows.width);
    std::fill(values + dim, values + scorer.rows.width, std::int16_t{0});
    quantise_query(metric, quantiser, dim, query, values, scorer);
    scorer.query = values;
  }
  return scorer;
}

RowScorer StoredRows::scorer(const std::byte* base, std::size_t stride, const std::byte* row,
                             Buffers& buffers) const {
  RowScorer scorer = scorer_of(metric, kind, dim, base, stride);
  scorer.query = row;
  scorer.factor = factor;
  // NOLINTBEGIN(cppcoreguidelines-pro-type-reinterpret-cast): what the rows hold
  if (kind == CodeKind::kInt8) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(row);
    std::int16_t* values = buffers.int16.resize(width);
    std::copy_n(codes, width, values);
    scorer.query = values;
  } else if (kind == CodeKind::kBf16) {
    const auto* halves = reinterpret_cast<const Bf16*>(row);
    float* values = buffers.f32.resize(width);
    std::transform(halves, halves + width, values, bf16_to_float);
    scorer.query = values;
  } else if (kind == CodeKind::kF16) {
    const auto* halves = reinterpret_cast<const F16*>(row);
    float* values = buffers.f32.resize(width);
    std::transform(halves, halves + width, values, f16_to_float);
    scorer.query = values;
  }
  // NOLINTEND(cppcoreguidelines-pro-type-reinterpret-cast)
  return scorer;
}

}  // namespace halo::detail
