// Distances from one query to stored rows, whatever the rows are stored as.
//
// Thread-safety: one QueryBuffer a thread; scorers are values that point into it and into the rows.
// Private to the index room.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halo/core/aligned_memory.h"
#include "halo/core/kernels/code_distance.h"
#include "halo/core/matrix_view.h"
#include "halo/index/metric.h"
#include "halo/index/vector_codes.h"

namespace halo::detail {

/// Computes distances for lists of rows. Distances of codes approximate the metric's, in its unit.
struct RowScorer {
  kernels::RowsFn kernel = nullptr;
  kernels::CodeRows rows;
  const void* query = nullptr;
  float factor = 1, bias = 0;

  void operator()(const std::uint32_t* nodes, std::size_t count, float* out) const {
    kernel(rows, query, nodes, count, factor, bias, out);
  }
  float one(std::uint32_t node) const {
    float out = 0;
    (*this)(&node, 1, &out);
    return out;
  }
};

/// A query's values as int8 rows want them.
using QueryBuffer = AlignedBuffer<std::int16_t>;

/// Scores float32 rows padded to whole cache lines. `query`: 64-byte aligned, padded as the rows
/// are, as store_vector() leaves it. It must outlive the scorer.
RowScorer f32_scorer(Metric metric, const MatrixView& vectors, const float* query);

/// Scores codes of vectors of `dim` values; `query` as above, `buffer` must outlive the scorer too.
/// `codes` must not be kF32.
RowScorer code_scorer(Metric metric, const VectorCodes& codes, std::size_t dim, const float* query,
                      QueryBuffer& buffer);

/// Rows of one kind where a builder keeps them, and the distance between two of them: that of the
/// values they stand for.
struct StoredRows {
  StoredRows(Metric metric, CodeKind kind, std::size_t dim);

  float distance(const std::byte* a, const std::byte* b) const {
    return bias + factor * pair(a, b, width);
  }
  /// Scores rows at `base`, `stride` bytes apart, against one of them, which must outlive the
  /// scorer as `buffers` must.
  struct Buffers {
    QueryBuffer int16;
    AlignedBuffer<float> f32;
  };
  RowScorer scorer(const std::byte* base, std::size_t stride, const std::byte* row,
                   Buffers& buffers) const;
  /// Scores such rows against a query, as code_scorer() does (as f32_scorer() for kF32).
  RowScorer query_scorer(const std::byte* base, std::size_t stride, const Int8Quantiser& quantiser,
                         const float* query, QueryBuffer& buffer) const;
  /// How long one unit of int8 codes is.
  void set_scale(float scale);

  Metric metric;
  CodeKind kind;
  std::size_t dim, width;
  std::size_t bytes;  ///< of a row: a multiple of 64
  kernels::CodePairFn pair;
  float factor = 1, bias = 0;
};

}  // namespace halo::detail
