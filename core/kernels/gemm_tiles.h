// The innermost part of every dense product: panels laid out for the running CPU, and blocks of
// them multiplied in registers.
//
// Private to the products of gemm.h. Nothing is checked. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"

namespace halo::kernels::gemm_detail {

// Depth of a block: a tile's rows of a (12 KB on AVX2, 28 KB on AVX-512) stay in the first-level
// cache while panels of b stream past them from the second.
constexpr std::size_t kDepth = 512;
// Panels of b that stream past one tile's rows after another: 192 or 384 KB.
constexpr std::size_t kPanelsAtOnce = 6;
// Columns of b packed at once by a product that packs for itself: 1 MB.
constexpr std::size_t kColumns = 512;
// Tiles of rows in a block of a; the unit of parallel work.
constexpr std::size_t kTilesPerBlock = 8;
// Between copied rows of a: their lines spread over all sets of the first-level cache.
constexpr std::size_t kRowStride = kDepth + 16;

// How an operand is read: element (i, j) of a matrix or of its transpose.
struct Operand {
  const float* data;
  std::size_t stride;
  bool transposed;
};

struct Shape {
  std::size_t rows_at_once, columns_at_once;
};

// Rows of a as they lie (or as columns of a transpose): the first `in_place` of them, whole tiles,
// from `data` on. Those behind were copied, with zeros up to a whole tile: rows kRowStride apart,
// or of a transpose a panel [depth][rows_at_once] a tile.
struct Rows {
  bool transposed = false;
  const float* data = nullptr;
  std::size_t stride = 0, in_place = 0;
  const float* copied = nullptr;
};

// out[rows, columns] (+)= a x packed b.
struct Block {
  std::size_t rows = 0, columns = 0, depth = 0;
  Rows a{};
  const float* b = nullptr;  // row p of panel j starts at b + j * b_panel + p * b_row
  std::size_t b_panel = 0, b_row = 0;
  bool add = false;
};

Shape tile_shape();

// Panels of `width` columns of b's rows [row, row + depth), columns [column, column + count), in
// parallel where an executor is given.
void pack_block(const Operand& b, std::size_t row, std::size_t depth, std::size_t column,
                std::size_t count, std::size_t width, float* out, const Executor* executor);

// Rows [begin, end) of a, depth [p, p + depth), as multiply_block reads them for `columns` columns;
// what must be copied goes to `scratch`, of scratch_for(a, end - begin, columns, shape) floats.
// Rows a multiple of 4 KB apart share sets of the first-level cache, so they are copied; a
// transpose is where many panels of b would read its lines.
Rows lay_rows(const Operand& a, std::size_t begin, std::size_t end, std::size_t p,
              std::size_t depth, std::size_t columns, const Shape& shape, float* scratch);
std::size_t scratch_for(const Operand& a, std::size_t rows, std::size_t columns,
                        const Shape& shape);

void multiply_block(const Block& block, float* out, std::size_t stride);

// bfloat16 as float32.
void widen(const Bf16* x, std::size_t count, float* out);

inline std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Room for packed panels; not initialised.
class Scratch {
 public:
  explicit Scratch(std::size_t floats)
      : floats_(std::make_unique_for_overwrite<float[]>(floats + kAlign)) {}
  float* data() const {
    const auto at = reinterpret_cast<std::uintptr_t>(floats_.get()) / sizeof(float);
    return floats_.get() + (kAlign - at % kAlign) % kAlign;
  }

 private:
  static constexpr std::size_t kAlign = 16;  // floats a cache line
  std::unique_ptr<float[]> floats_;
};

}  // namespace halo::kernels::gemm_detail
