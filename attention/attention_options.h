// What every attention mechanism can be told when it is made, and the numbers of its gate modes.
//
// Thread-safety: plain values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halo::attention {

/// Where the projections start. Persisted in checkpoints: numbers are never reused.
enum class Initialisation : std::uint32_t {
  /// W_q = W_k = W_v = W_o = I: attention in the space of the vectors themselves. The default,
  /// because random projections of embeddings lose their neighbourhoods (P@1 .98 -> .62, measured).
  kIdentity = 1,
  /// Uniform in +-sqrt(6 / (rows + columns)) (Glorot, Bengio 2010), seeded.
  kGlorot = 2,
  /// Glorot, but W_o = 0: the output is zero, so a residual layer starts as the identity.
  kGlorotZeroOutput = 3,
};

/// How local and global attention become one output. Persisted: numbers are never reused.
enum class GateMode : std::uint32_t {
  /// sigma(g) local + (1 - sigma(g)) global, g learned per head and dimension, starting in +-0.01.
  /// It can't subtract the global part.
  kConvex = 1,
  /// local + f(g) global, g learned per head and dimension, starting at 0 (output = local).
  kSigned = 2,
  /// local + f(x_i . w + b) global, w and b learned per head, starting at 0: the sign and size of
  /// the global part depend on the node.
  kSignedPerNode = 3,
};

/// f of the signed gates. Persisted: numbers are never reused.
enum class GateLimit : std::uint32_t {
  kTanh = 1,  ///< f = tanh: the global part weighs at most as much as the local one
  kNone = 2,  ///< f(g) = g
};

/// How a layer keeps what its passes read again and again. Persisted: numbers are never reused.
enum class Storage : std::uint32_t {
  kFloat32 = 1,
  /// Queries, keys, values and the weights that forward multiplies by are rounded to bfloat16 (by
  /// at most 2^-8 of each), and what they meet where the CPU multiplies it in hardware; sums,
  /// outputs, gradients and parameters stay float32, and backward passes use the latter.
  kBfloat16 = 2,
};

struct AttentionOptions {
  Initialisation initialisation = Initialisation::kIdentity;
  /// Of every random start. The same seed gives the same parameters on every machine.
  std::uint64_t seed = 0;
  /// Logits are scale * q . k; 0 means 1 / sqrt(head_dim). Raising it sharpens the softmax.
  float scale = 0.0F;
  /// Only LocalGlobalAttention has a gate.
  GateMode gate = GateMode::kConvex;
  GateLimit gate_limit = GateLimit::kTanh;
  Storage storage = Storage::kFloat32;

  /// Throws kInvalidArgument for a scale that is negative or not finite, or an unknown enumerator.
  void validate() const;
  /// `scale`, or its default for heads of `head_dim`.
  float scale_for(std::size_t head_dim) const;
};

}  // namespace halo::attention
