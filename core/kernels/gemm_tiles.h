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

// Depth of a block: a panel of b (16 KB on AVX2) stays in the first-level cache while a block of a
// (about 100 to 230 KB) stays in the second.
constexpr std::size_t kDepth = 256;
// Columns of b packed at once by a product that packs for itself: 1 MB.
constexpr std::size_t kColumns = 1024;
// Row panels in a block of a; the unit of parallel work.
constexpr std::size_t kPanelsPerBlock = 16;

// How an operand is read: element (i, j) of a matrix or of its transpose.
struct Operand {
  const float* data;
  std::size_t stride;
  bool transposed;
};

struct Shape {
  std::size_t rows_at_once, columns_at_once;
};

// Products of at most this many columns read a row-major a where it is: packing it would not be
// paid back.
constexpr std::size_t kColumnsWorthPacking = 512;

// out[rows, columns] (+)= a x packed b.
struct Block {
  std::size_t rows, columns, depth;
  const float* a;     // panels of rows_at_once rows, [depth][rows_at_once] each, where a_row is 0,
  std::size_t a_row;  // else rows this far apart,
  const float* a_tail;  // and the rows behind the last whole panel as a panel of their own
  const float* b;       // row p of panel j starts at b + j * b_panel + p * b_row
  std::size_t b_panel, b_row;
  bool add;
};

Shape tile_shape();

// Panels of `width` columns of b's rows [row, row + depth), columns [column, column + count), in
// parallel where an executor is given.
void pack_block(const Operand& b, std::size_t row, std::size_t depth, std::size_t column,
                std::size_t count, std::size_t width, float* out, const Executor* executor);

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
