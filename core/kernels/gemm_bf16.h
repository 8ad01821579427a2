// The innermost part of products with a PackedHalfMatrix where bf16::in_hardware(): rows rounded to
// pairs, panels of pairs, and blocks of them multiplied in registers.
//
// Private to gemm_half.cpp. Nothing is checked. Thread-safety: pure functions.
#pragma once

#include <cstddef>

#include "halo/core/kernels/bf16.h"

namespace halo::kernels::bf16 {

constexpr std::size_t kTileRows = 14;  // with two vectors of columns: 28 of 32 registers hold sums
constexpr std::size_t kPanel = 32;     // columns a panel
constexpr std::size_t kPanelPairs = 256;             // depth of a panel of b: 32 KB
constexpr std::size_t kRowPairs = kPanelPairs + 16;  // between rows of a: never a power of two
constexpr std::size_t kRowsAtOnce = 8 * kTileRows;   // of a: 119 KB, the unit of parallel work
constexpr std::size_t kPanelsAtOnce = 6;             // of b, past one tile's rows: 192 KB

// Rows [0, rows) of `depth` <= 2 kPanelPairs floats, rounded, kRowPairs apart. Rows are made up to
// a multiple of kTileRows.
void round_rows(const float* a, std::size_t stride, std::size_t rows, std::size_t depth, Pair* out);

// Rows of b [depth, columns], depth <= 2 kPanelPairs, as panels [pairs][kPanel], zeros behind.
void pack_panels(const float* b, std::size_t stride, std::size_t depth, std::size_t columns,
                 Pair* out);

// Rows of a [depth, columns] in pairs of rows, `stride_out` >= columns apart, zeros behind.
void pair_rows(const float* a, std::size_t stride, std::size_t depth, std::size_t columns,
               std::size_t stride_out, Pair* out);

// out[rows, columns] (+)= rounded rows x panels.
struct PairBlock {
  std::size_t rows, columns, pairs;
  const Pair *a, *b;
  bool add;      // to what out holds
  bool rounded;  // the sums are rounded to bfloat16 as well
};
void multiply(const PairBlock& block, float* out, std::size_t stride);
// The same with block.a as pair_rows() lays it out, a_row pairs apart, a multiple of kTileRows.
void multiply_transposed(const PairBlock& block, std::size_t a_row, float* out, std::size_t stride);

}  // namespace halo::kernels::bf16
