#include "halo/core/kernels/favor_features.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/favor_features.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <type_traits>

#include "halo/core/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Whole = hn::ScalableTag<float>;
constexpr float kLog2E = 1.44269504F;

// Calls step(tag, i) for whole vectors of d floats, then for single ones.
template <class Step>
HWY_INLINE void ForEachVector(std::size_t d, const Step& step) {
  const Whole tag;
  const std::size_t lanes = hn::Lanes(tag);
  std::size_t i = 0;
  for (; i + lanes <= d; i += lanes) step(tag, i);
  for (; i < d; ++i) step(hn::CappedTag<float, 1>(), i);
}

// The largest of scale phi_j - norms[j] over all rows.
float LargestExponent(const MatrixSpan& phi, float scale, const float* norms) {
  const Whole tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto by = hn::Set(tag, scale);
  auto high = hn::Set(tag, -std::numeric_limits<float>::infinity());
  float rest = -std::numeric_limits<float>::infinity();
  for (std::size_t j = 0; j < phi.rows; ++j) {
    const float* HWY_RESTRICT row = phi.row(j);
    const auto norm = hn::Set(tag, norms[j]);
    std::size_t i = 0;
    for (; i + lanes <= phi.cols; i += lanes) {
      high = hn::Max(high, hn::MulSub(by, hn::LoadU(tag, row + i), norm));
    }
    for (; i < phi.cols; ++i) rest = std::max(rest, scale * row[i] - norms[j]);
  }
  return std::max(rest, hn::GetLane(hn::MaxOfLanes(tag, high)));
}

// The largest scale * x.
HWY_INLINE float ScaledMax(const float* HWY_RESTRICT x, std::size_t d, float scale) {
  const Whole tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto by = hn::Set(tag, scale);
  auto high = hn::Set(tag, -std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= d; i += lanes) high = hn::Max(high, hn::Mul(by, hn::LoadU(tag, x + i)));
  float largest = hn::GetLane(hn::MaxOfLanes(tag, high));
  for (; i < d; ++i) largest = std::max(largest, scale * x[i]);
  return largest;
}

// Queries: phi_i <- e^(scale phi_i - the row's largest) + epsilon; totals[i] = phi_i . weights.
// `shifts`, where not null, receives the largest exponents.
void QueryExponentials(const MatrixSpan& phi, float scale, float epsilon, const float* weights,
                       float* totals, float* shifts) {
  const Whole tag;
  for (std::size_t i = 0; i < phi.rows; ++i) {
    float* row = phi.row(i);
    const float high = ScaledMax(row, phi.cols, scale);
    if (shifts != nullptr) shifts[i] = high;
    auto sum = hn::Zero(tag);
    float rest = 0.0F;
    ForEachVector(phi.cols, [&](auto to, std::size_t r) HWY_ATTR {
      const auto power = hn::MulSub(hn::Set(to, scale * kLog2E), hn::LoadU(to, row + r),
                                    hn::Set(to, high * kLog2E));
      const auto e = hn::Add(simd::exp2(to, power), hn::Set(to, epsilon));
      hn::StoreU(e, to, row + r);
      if (weights == nullptr) return;
      const auto share = hn::Mul(e, hn::LoadU(to, weights + r));
      if constexpr (std::is_same_v<decltype(to), Whole>) {
        sum = hn::Add(sum, share);
      } else {
        rest += hn::GetLane(share);
      }
    });
    if (weights != nullptr) totals[i] = rest + hn::GetLane(hn::SumOfLanes(tag, sum));
  }
}

// Keys: phi_j <- e^(scale phi_j - norms[j] - shift), added up in `sums` where that is not null.
void KeyExponentials(const MatrixSpan& phi, float scale, const float* norms, float shift,
                     float* HWY_RESTRICT sums) {
  for (std::size_t j = 0; j < phi.rows; ++j) {
    float* HWY_RESTRICT row = phi.row(j);
    const float by = scale * kLog2E, less = (norms[j] + shift) * kLog2E;
    ForEachVector(phi.cols, [&](auto to, std::size_t r) HWY_ATTR {
      const auto power = hn::MulSub(hn::Set(to, by), hn::LoadU(to, row + r), hn::Set(to, less));
      const auto e = simd::exp2(to, power);
      hn::StoreU(e, to, row + r);
      if (sums != nullptr) hn::StoreU(hn::Add(hn::LoadU(to, sums + r), e), to, sums + r);
    });
  }
}

// norms[i] = |scale x_i|^2 / 2.
void HalfSquares(const MatrixView& x, float scale, float* norms) {
  const Whole tag;
  for (std::size_t i = 0; i < x.rows; ++i) {
    const float* HWY_RESTRICT row = x.row(i);
    auto sum = hn::Zero(tag);
    float rest = 0.0F;
    ForEachVector(x.cols, [&](auto to, std::size_t c) HWY_ATTR {
      const auto value = hn::LoadU(to, row + c);
      if constexpr (std::is_same_v<decltype(to), Whole>) {
        sum = hn::MulAdd(value, value, sum);
      } else {
        rest += hn::GetLane(hn::Mul(value, value));
      }
    });
    norms[i] = 0.5F * scale * scale * (rest + hn::GetLane(hn::SumOfLanes(tag, sum)));
  }
}

// sums += every row of x.
void AddRows(const MatrixView& x, float* HWY_RESTRICT sums) {
  ForEachVector(x.cols, [&](auto to, std::size_t c) HWY_ATTR {
    auto sum = hn::LoadU(to, sums + c);
    for (std::size_t i = 0; i < x.rows; ++i) sum = hn::Add(sum, hn::LoadU(to, x.row(i) + c));
    hn::StoreU(sum, to, sums + c);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/vector_ops.h"

namespace halo::kernels {

HWY_EXPORT(LargestExponent);
HWY_EXPORT(QueryExponentials);
HWY_EXPORT(KeyExponentials);
HWY_EXPORT(HalfSquares);
HWY_EXPORT(AddRows);

namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
// The keys of all heads are summed in at most this many parts.
constexpr std::size_t kParts = 32;

// What runs inside a parallel body stays on its thread.
const Executor& calling_thread() {
  static const Executor executor(1);
  return executor;
}

// y += alpha x, zeros behind rows included; both are as wide.
void add_scaled(float alpha, const Matrix& x, Matrix& y) {
  axpy(alpha, x.data(), y.data(), x.rows() * x.stride());
}

// The sums of some keys, epsilon left out.
struct Part {
  Matrix values;
  std::vector<float> ones;
  std::vector<float> plain;  // sum_j v_j: [dv]
  float max = kNone;

  Part(std::size_t features, std::size_t dv)
      : values(Matrix::padded(features, dv)), ones(features), plain(dv) {}

  // Moves the common shift up to `to`.
  void raise(float to) {
    if (to <= max) return;
    if (max != kNone) {  // there are sums
      const float factor = std::exp(max - to);
      scale(factor, values.data(), values.rows() * values.stride());
      scale(factor, ones.data(), ones.size());
    }
    max = to;
  }
};

// Rows of a matrix in float32: where they are, or widened into `room`.
MatrixView rows_of(const MatrixView& m, std::size_t begin, std::size_t count, Matrix&) {
  return m.sub_rows(begin, count);
}
MatrixView rows_of(const HalfView& m, std::size_t begin, std::size_t count, Matrix& room) {
  if (room.empty()) room = Matrix::padded(kFeatureBlock, m.cols);
  const MatrixSpan rows = room.span().sub_rows(0, count);
  widen(m.sub_rows(begin, count), rows);
  return rows;
}

// x omega^T, on the calling thread.
void directions(const MatrixView& x, const FavorMap& map, const MatrixSpan& out) {
  if (map.half_omega_t != nullptr) {
    gemm(x, *map.half_omega_t, out, calling_thread());
  } else {
    gemm(x, *map.omega_t, out, calling_thread());
  }
}

// Of at most kFeatureBlock keys: phi <- x omega^T, norms[j] <- |scale x_j|^2 / 2. Returns the
// larger of `shift` and the largest exponent.
float key_exponents(const MatrixView& x, const FavorMap& map, float scale, float shift,
                    const MatrixSpan& phi, float* norms) {
  assert(x.rows <= kFeatureBlock);
  directions(x, map, phi);
  HWY_DYNAMIC_DISPATCH(HalfSquares)(x, scale, norms);
  return std::max(shift, HWY_DYNAMIC_DISPATCH(LargestExponent)(phi, scale, norms));
}

// Keys [begin, end).
template <class Keys>
void sum_part(const Keys& k, const Keys& v, const FavorMap& map, float scale_k, std::size_t begin,
              std::size_t end, Part& sums) {
  const std::size_t features = map.features();
  Matrix phi = Matrix::padded(kFeatureBlock, features), key_room, value_room;
  for (std::size_t b = begin; b < end; b += kFeatureBlock) {
    const std::size_t count = std::min(kFeatureBlock, end - b);
    const MatrixSpan rows = phi.span().sub_rows(0, count);
    const MatrixView values = rows_of(v, b, count, value_room);
    float norms[kFeatureBlock];
    sums.raise(key_exponents(rows_of(k, b, count, key_room), map, scale_k, sums.max, rows, norms));
    HWY_DYNAMIC_DISPATCH(KeyExponentials)(rows, scale_k, norms, sums.max, sums.ones.data());
    HWY_DYNAMIC_DISPATCH(AddRows)(values, sums.plain.data());
    if (map.half_omega_t != nullptr) {
      gemm_tn_add_half(rows, values, sums.values);
    } else {
      gemm_tn_add(rows, values, sums.values, calling_thread());
    }
  }
}

// The sums of one head's `count` parts.
KeySums join(Part* parts, std::size_t count, float epsilon, std::size_t keys) {
  Part& sums = parts[0];
  const std::size_t features = sums.ones.size(), dv = sums.values.cols();
  for (std::size_t p = 1; p < count; ++p) {
    sums.raise(parts[p].max);
    const float factor = std::exp(parts[p].max - sums.max);
    add_scaled(factor, parts[p].values, sums.values);
    axpy(factor, parts[p].ones.data(), sums.ones.data(), features);
    axpy(1.0F, parts[p].plain.data(), sums.plain.data(), dv);
  }
  // epsilon of every key's every feature.
  for (std::size_t r = 0; r < features; ++r) {
    axpy(epsilon, sums.plain.data(), sums.values.row(r), dv);
    sums.ones[r] += epsilon * static_cast<float>(keys);
  }
  return {std::move(sums.values), std::move(sums.ones), sums.max};
}

template <class Keys>
std::vector<KeySums> sum_all(const Keys& k, const Keys& v, std::span<const FavorMap> heads,
                             float scale_k, float epsilon, const Executor& executor) {
  assert(k.rows > 0 && k.cols == heads.size() * heads[0].dim() && v.rows == k.rows);
  const std::size_t d = k.cols / heads.size(), dv = v.cols / heads.size();
  const std::size_t part = rows_a_part(k.rows, heads.size());
  const std::size_t count = (k.rows + part - 1) / part;
  std::vector<Part> parts;
  for (const FavorMap& map : heads) {
    for (std::size_t p = 0; p < count; ++p) parts.emplace_back(map.features(), dv);
  }
  executor.parallel_for(parts.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t t = first; t < last; ++t) {
      const std::size_t h = t / count, begin = t % count * part;
      sum_part(k.sub_cols(h * d, d), v.sub_cols(h * dv, dv), heads[h], scale_k, begin,
               std::min(k.rows, begin + part), parts[t]);
    }
  });
  std::vector<KeySums> sums(heads.size());
  executor.parallel_for(heads.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t h = first; h < last; ++h) {
      sums[h] = join(parts.data() + h * count, count, epsilon, k.rows);
    }
  });
  return sums;
}

}  // namespace

void favor_features(const MatrixView& x, const PackedMatrix& omega_t, float scale_x,
                    const MatrixSpan& phi, std::span<float> shift, const Executor& executor) {
  assert(x.cols == omega_t.rows() && phi.rows == x.rows && phi.cols == omega_t.cols());
  assert(shift.size() == x.rows);
  const float share = 1.0F / std::sqrt(static_cast<float>(std::max<std::size_t>(phi.cols, 1)));
  executor.parallel_for(x.rows, kFeatureBlock, [&](std::size_t begin, std::size_t end) {
    const MatrixSpan rows = phi.sub_rows(begin, end - begin);
    float norms[kFeatureBlock];
    gemm(x.sub_rows(begin, end - begin), omega_t, rows, calling_thread());
    HWY_DYNAMIC_DISPATCH(HalfSquares)(x.sub_rows(begin, end - begin), scale_x, norms);
    HWY_DYNAMIC_DISPATCH(QueryExponentials)
    (rows, scale_x, 0.0F, nullptr, nullptr, shift.data() + begin);
    for (std::size_t i = begin; i < end; ++i) {
      scale(share, phi.row(i), phi.cols);
      shift[i] -= norms[i - begin];
    }
  });
}

void query_features(const MatrixView& x, const FavorMap& map, float scale, float epsilon,
                    const float* ones, const MatrixSpan& phi, float* sums) {
  directions(x, map, phi);
  HWY_DYNAMIC_DISPATCH(QueryExponentials)(phi, scale, epsilon, ones, sums, nullptr);
}

float key_features(const MatrixView& x, const FavorMap& map, float scale, float shift,
                   const MatrixSpan& phi) {
  float norms[kFeatureBlock];
  shift = key_exponents(x, map, scale, shift, phi, norms);
  HWY_DYNAMIC_DISPATCH(KeyExponentials)(phi, scale, norms, shift, nullptr);
  return shift;
}

std::size_t rows_a_part(std::size_t rows, std::size_t heads) {
  const std::size_t blocks = (rows + kFeatureBlock - 1) / kFeatureBlock;
  const std::size_t parts = std::max<std::size_t>(kParts / heads, 1);
  return std::max<std::size_t>((blocks + parts - 1) / parts, 1) * kFeatureBlock;
}

std::vector<KeySums> sum_keys(const MatrixView& k, const MatrixView& v,
                              std::span<const FavorMap> heads, float scale, float epsilon,
                              const Executor& executor) {
  return sum_all(k, v, heads, scale, epsilon, executor);
}
std::vector<KeySums> sum_keys(const HalfView& k, const HalfView& v, std::span<const FavorMap> heads,
                              float scale, float epsilon, const Executor& executor) {
  return sum_all(k, v, heads, scale, epsilon, executor);
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
