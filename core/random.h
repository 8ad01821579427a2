// Seeded random numbers that do not depend on the order or the number of threads that draw them.
//
// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): a
// counter hashed into a stream, so that item i of a seeded sequence can be drawn by any thread.
// Satisfies UniformRandomBitGenerator.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

namespace halo {

class Random {
 public:
  using result_type = std::uint64_t;
  /// Stream number `stream` of `seed`: streams of one seed are independent of each other.
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0)
      : state_(mix(seed + kGamma) ^ mix(stream * kGamma + 0x632be59bd9b4e019ULL)) {}

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() { return mix(state_ += kGamma); }

  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  /// Uniform in [0, n), n > 0. The bias is below n / 2^64.
  std::uint64_t below(std::uint64_t n) {
    return static_cast<std::uint64_t>((static_cast<Wide>((*this)()) * n) >> 64);
  }
  /// Standard normal (Box-Muller; one value a call).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  static constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15ULL;
  // NOLINTNEXTLINE(modernize-use-using): a using-declaration cannot carry __extension__
  __extension__ typedef unsigned __int128 Wide;
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t state_;
};

}  // namespace halo
