// Exponentials and softmax of rows, plain and online, vectorised.
//
// Private to halo: not installed. Thread-safe; pointers need no alignment. Exponentials have a
// relative error below 2e-7; those under the smallest normal float are 0. NaN in, NaN out. Plain
// references in softmax_reference.h.
#pragma once

#include <cstddef>
#include <limits>

namespace halo::kernels {

/// The largest of d floats; -inf where d = 0. O(d).
float row_max(const float* x, std::size_t d);

/// In place: x_i <- e^(x_i - shift); returns the sum. Every x_i - shift must be at most 88; a
/// shift of -inf (a row of nothing but -inf) gives zeros. O(d).
float exponentials(float* x, std::size_t d, float shift);

/// In place: x_i <- exp(x_i - max x) / sum_j exp(x_j - max x), as vector_ops.h's softmax, and
/// returns log sum_j exp(x_j): -inf where d = 0 or every x is -inf, and then x is all zeros. O(d).
float softmax_lse(float* x, std::size_t d);

/// The softmax of a row that arrives in pieces (Milakov, Gimelshein: "Online normalizer calculation
/// for softmax", 2018). After any number of pieces, sum_j e^(x_j - max) v_j / sum is the softmax's
/// mean of the v, where earlier pieces' terms were multiplied by what absorb() returned.
struct OnlineSoftmax {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0F;

  /// x_i <- e^(x_i - new max); returns the factor e^(old max - new max) that everything
  /// accumulated so far must be multiplied by (0 at first). O(d).
  float absorb(float* x, std::size_t d);
  /// log of the sum of all exponentials; -inf before any finite value.
  float lse() const;
};

}  // namespace halo::kernels
