#include "halo/index/vector_codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>

#include "halo/core/aligned_memory.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/code_distance.h"
#include "halo/core/out_of_memory.h"

namespace halo {
namespace {

constexpr std::size_t kLine = 64;
// Values that the scale is chosen on.
constexpr std::size_t kSampleValues = std::size_t{1} << 17U;

bool whole_numbers_within(const MatrixView& vectors, float low, float high) {
  for (std::size_t i = 0; i < vectors.rows; ++i) {
    const auto row = vectors.row_span(i);
    bool whole = true;  // looked at once a row, so that the loop is a vector loop
    for (const float x : row) {
      whole &= x >= low && x <= high && static_cast<float>(static_cast<std::int32_t>(x)) == x;
    }
    if (!whole) return false;
  }
  return true;
}

// Differences from the offset of up to kSampleValues values, from evenly spaced rows.
std::vector<float> sample_residuals(const MatrixView& vectors, std::span<const float> offset) {
  const std::size_t rows = std::clamp<std::size_t>(kSampleValues / vectors.cols, 1, vectors.rows);
  std::vector<float> sample;
  sample.reserve(rows * vectors.cols);
  for (std::size_t s = 0; s < rows; ++s) {
    const float* row = vectors.row(s * vectors.rows / rows);
    for (std::size_t i = 0; i < vectors.cols; ++i) sample.push_back(row[i] - offset[i]);
  }
  return sample;
}

double squared_error(std::span<const float> sample, float scale) {
  double sum = 0;
  for (const float x : sample) {
    const float code = std::clamp(std::nearbyint(x / scale), -128.0F, 127.0F);
    const double error = double{x} - double{code} * double{scale};
    sum += error * error;
  }
  return sum;
}

float best_scale(std::span<const float> sample) {
  float greatest = 0;
  for (const float x : sample) greatest = std::max(greatest, std::fabs(x));
  // Subnormal scales have no finite inverse.
  if (!(greatest > 1e-30F)) return 1;
  float best = greatest / 127;
  double least = squared_error(sample, best);
  for (float scale = best * 0.85F; scale > best * 0.1F; scale *= 0.85F) {
    const double error = squared_error(sample, scale);
    if (error >= least) break;
    least = error;
    best = scale;
  }
  return best;
}

std::vector<float> mean_row(const MatrixView& vectors) {
  std::vector<double> sum(vectors.cols, 0);
  const std::size_t step = std::max<std::size_t>(1, vectors.rows / 4096);
  std::size_t rows = 0;
  for (std::size_t i = 0; i < vectors.rows; i += step, ++rows) {
    const float* row = vectors.row(i);
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += double{row[j]};
  }
  std::vector<float> mean(sum.size());
  for (std::size_t j = 0; j < sum.size(); ++j) {
    mean[j] = static_cast<float>(sum[j] / static_cast<double>(rows));
  }
  return mean;
}

}  // namespace

std::string_view code_kind_name(CodeKind kind) noexcept {
  switch (kind) {
    case CodeKind::kF32:
      return "f32";
    case CodeKind::kBf16:
      return "bf16";
    case CodeKind::kInt8:
      return "int8";
    case CodeKind::kF16:
      return "f16";
  }
  return "unknown";
}

Int8Quantiser Int8Quantiser::fit(Metric metric, const MatrixView& vectors) {
  Int8Quantiser quantiser;
  quantiser.offset.assign(vectors.cols, 0.0F);
  if (vectors.rows == 0) return quantiser;
  if (metric == Metric::kL2) {
    if (whole_numbers_within(vectors, 0, 255)) {
      quantiser.offset.assign(vectors.cols, 128.0F);
      quantiser.lossless = true;
      return quantiser;
    }
    if (whole_numbers_within(vectors, -128, 127)) {
      quantiser.lossless = true;
      return quantiser;
    }
    quantiser.offset = mean_row(vectors);
  }
  quantiser.scale = best_scale(sample_residuals(vectors, quantiser.offset));
  return quantiser;
}

bool Int8Quantiser::lossless_for(const MatrixView& vectors) {
  return whole_numbers_within(vectors, 0, 255) || whole_numbers_within(vectors, -128, 127);
}

bool Int8Quantiser::fits(Metric metric, const MatrixView& vectors) const {
  if (vectors.rows == 0) return true;
  if (lossless) {
    // Offset 128 or 0: see fit().
    return metric == Metric::kL2 &&
           whole_numbers_within(vectors, offset[0] - 128.0F, offset[0] + 127.0F);
  }
  constexpr float kTolerance = 1.3F;
  return best_scale(sample_residuals(vectors, offset)) <= kTolerance * scale;
}

void encode_row(CodeKind kind, const Int8Quantiser& quantiser, std::span<const float> vector,
                std::byte* row) {
  // NOLINTBEGIN(cppcoreguidelines-pro-type-reinterpret-cast): what the rows hold
  std::size_t bytes = vector.size();
  if (kind == CodeKind::kInt8) {
    kernels::quantise_int8(vector.data(), quantiser.offset.data(), 1 / quantiser.scale,
                           vector.size(), reinterpret_cast<std::int8_t*>(row));
  } else {
    static_assert(sizeof(Bf16) == sizeof(F16));
    bytes *= sizeof(Bf16);
    if (kind == CodeKind::kBf16) {
      std::transform(vector.begin(), vector.end(), reinterpret_cast<Bf16*>(row), float_to_bf16);
    } else {
      std::transform(vector.begin(), vector.end(), reinterpret_cast<F16*>(row), float_to_f16);
    }
  }
  // NOLINTEND(cppcoreguidelines-pro-type-reinterpret-cast)
  std::memset(row + bytes, 0, (kLine - bytes % kLine) % kLine);
}

void decode_row(CodeKind kind, const Int8Quantiser& quantiser, const std::byte* row,
                std::span<float> vector) {
  // NOLINTBEGIN(cppcoreguidelines-pro-type-reinterpret-cast): what the rows hold
  if (kind == CodeKind::kInt8) {
    const auto* codes = reinterpret_cast<const std::int8_t*>(row);
    for (std::size_t i = 0; i < vector.size(); ++i) {
      vector[i] = quantiser.offset[i] + quantiser.scale * static_cast<float>(codes[i]);
    }
  } else if (kind == CodeKind::kBf16) {
    const auto* halves = reinterpret_cast<const Bf16*>(row);
    std::transform(halves, halves + vector.size(), vector.begin(), bf16_to_float);
  } else if (kind == CodeKind::kF16) {
    const auto* halves = reinterpret_cast<const F16*>(row);
    std::transform(halves, halves + vector.size(), vector.begin(), f16_to_float);
  } else {
    std::copy_n(reinterpret_cast<const float*>(row), vector.size(), vector.begin());
  }
  // NOLINTEND(cppcoreguidelines-pro-type-reinterpret-cast)
}

VectorCodes VectorCodes::encode(CodeKind kind, Metric metric, const MatrixView& vectors) {
  VectorCodes codes;
  if (kind == CodeKind::kF32) return codes;
  const std::size_t bytes = vectors.cols * (kind == CodeKind::kInt8 ? 1 : sizeof(Bf16));
  codes.kind_ = kind;
  codes.rows_ = vectors.rows;
  codes.stride_ = (bytes + kLine - 1) / kLine * kLine;
  if (kind == CodeKind::kInt8) codes.quantiser_ = Int8Quantiser::fit(metric, vectors);
  AlignedArray<std::byte> data(static_cast<std::byte*>(allocate_aligned(codes.bytes())));
  if (!data) {
    throw_out_of_memory(
        [&] { return "cannot allocate " + std::to_string(codes.bytes()) + " bytes for codes"; });
  }
  for (std::size_t i = 0; i < vectors.rows; ++i) {
    encode_row(kind, codes.quantiser_, vectors.row_span(i), data.get() + i * codes.stride_);
  }
  codes.data_ = std::shared_ptr<const std::byte>(data.release(), FreeAligned{});
  return codes;
}

}  // namespace halo
