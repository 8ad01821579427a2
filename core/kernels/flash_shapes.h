// What flash attention's passes work on, whatever the instruction set: rows, ranges, one head's
// forward pass and how it is cut.
//
// Private to the flash kernels. Thread-safety: pure functions. Nothing is checked.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

#include "halo/core/half_matrix.h"

namespace halo::kernels::flash_detail {

constexpr std::size_t kPad = 64;  // what any ISA's panels may need behind a row

// One head's rows of a matrix, stored as float or bfloat16.
template <class T>
struct Rows {
  const T* data = nullptr;
  std::size_t stride = 0, count = 0, cols = 0;
  const T* row(std::size_t i) const { return data + i * stride; }
};

inline std::size_t padded(std::size_t cols) { return (cols + kPad - 1) / kPad * kPad; }

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

// Of a window: every row sees every key.
constexpr std::size_t kNoWindow = std::numeric_limits<std::size_t>::max();

struct Range {
  std::size_t begin, end;
};
// The rows that some of columns [begin, end) see, within a window and `count` rows.
inline Range seen(std::size_t begin, std::size_t end, std::size_t window, std::size_t count) {
  return {begin > window ? begin - window : 0,
          end < count && window < count - end ? end + window : count};
}

// One head's forward pass, for the kernels of every instruction set.
template <class T>
struct Forward {
  Rows<float> q;
  Rows<T> k, v;
  float scale;
  std::size_t window;
  float* out;
  std::size_t out_stride;
  float* lse;           // may be null
  std::size_t columns;  // queries a task
  std::size_t rows;     // keys a block
};

// Queries a task: every block of keys and values is laid out once for all of them. As many as half
// a megabyte of workspace holds, in tasks of equal size, but enough tasks to share out; results do
// not depend on it (see ForEachTile).
constexpr std::size_t kFewColumns = 192, kManyColumns = 768;
constexpr std::size_t kMaxPanel = 48;  // columns of the widest tile: AVX-512's
inline std::size_t forward_columns(std::size_t queries, std::size_t heads, std::size_t d,
                                   std::size_t dv, std::size_t threads) {
  std::size_t most = kManyColumns;
  while (most > kFewColumns &&
         (most * (padded(d) + padded(dv)) > kManyColumns * 128 ||
          (threads > 1 && heads * (queries + most - 1) / most < 8 * threads))) {
    most /= 2;
  }
  const std::size_t tasks = std::max<std::size_t>((queries + most - 1) / most, 1);
  const std::size_t even = (queries + tasks - 1) / tasks;
  return std::max<std::size_t>((even + kMaxPanel - 1) / kMaxPanel, 1) * kMaxPanel;
}
// Keys a block; a multiple of every tile's rows.
inline std::size_t forward_rows(std::size_t d, std::size_t dv) {
  return padded(d) + padded(dv) <= 256 ? 256 : 128;
}
inline std::size_t forward_floats(std::size_t columns, std::size_t d, std::size_t dv) {
  const std::size_t rows = forward_rows(d, dv);
  return (columns + rows) * (padded(d) + padded(dv)) + 2 * rows * kMaxPanel + 3 * columns;
}

}  // namespace halo::kernels::flash_detail
