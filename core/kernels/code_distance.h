// Distances from one query to many stored rows, which may be float32, bfloat16, float16 or 8-bit
// codes, chosen once for the running CPU (baseline, SSE4, AVX2, AVX-512, AVX-512 VNNI).
//
// A graph walk asks for a node's neighbours at once, so a kernel takes a list of rows: it fetches
// the next rows while it works on one, and is called once for the list.
//
// Private to halo: not installed. Kernels only assert. Plain references in
// code_distance_reference.h. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halo/core/half_matrix.h"

namespace halo::kernels {

/// Rows of codes that lie `stride` bytes apart. Row and query hold `width` values, a multiple of 64
/// bytes of codes: zeros where the vector ends before.
struct CodeRows {
  const std::byte* base = nullptr;
  std::size_t stride = 0;
  std::size_t width = 0;
  /// Leading cache lines of a row that a kernel asks for ahead of time, and how many rows ahead.
  std::size_t prefetch_lines = 4;
  std::size_t prefetch_ahead = 2;
};

/// out[i] = bias + factor * sum over the values of row rows[i] and the query, for i < count. The
/// query's values are float32 for f32, bf16 and f16 rows, int16 for int8 rows but where the name
/// says float. O(count width).
using RowsFn = void (*)(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                        std::size_t count, float factor, float bias, float* out);

RowsFn l2_rows_f32();   ///< sum (q - x)^2
RowsFn dot_rows_f32();  ///< sum q x
RowsFn l2_rows_bf16();
RowsFn dot_rows_bf16();
RowsFn l2_rows_f16();
RowsFn dot_rows_f16();
/// int8 rows and a float32 query: what int16 values cannot hold.
RowsFn l2_rows_int8_float();
/// Exact integer sums while the whole sum stays below 2^32 (l2) or within +-2^31 (dot): see
/// l2_query_limit() and dot_query_limit().
RowsFn l2_rows_int8();
RowsFn dot_rows_int8();

/// The sum between two rows of the same kind, `width` values each.
using CodePairFn = float (*)(const std::byte* a, const std::byte* b, std::size_t width);
CodePairFn l2_pair_f32();
CodePairFn dot_pair_f32();
CodePairFn l2_pair_bf16();
CodePairFn dot_pair_bf16();
CodePairFn l2_pair_f16();
CodePairFn dot_pair_f16();
CodePairFn l2_pair_int8();
CodePairFn dot_pair_int8();

/// The greatest absolute value of a query's int16 values for which no sum over `width` values
/// overflows. At least 127 up to 65,536 values.
std::int16_t l2_query_limit(std::size_t width);
std::int16_t dot_query_limit(std::size_t width);

/// out[i] = (source[i] - offset[i]) * inverse, rounded to nearest, ties to even, and clamped to
/// [-128, 127], for i < d.
void quantise_int8(const float* source, const float* offset, float inverse, std::size_t d,
                   std::int8_t* out);
/// The same, clamped to [-limit, limit].
void quantise_int16(const float* source, const float* offset, float inverse, std::int16_t limit,
                    std::size_t d, std::int16_t* out);

}  // namespace halo::kernels
