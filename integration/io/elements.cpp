#include "halo/integration/io/elements.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace halo::io {

static_assert(std::endian::native == std::endian::little, "the files are little endian");

namespace {

constexpr std::uint64_t kChunk = std::uint64_t{4} << 20;

/// An IEEE 754 binary16.
struct Half {
  std::uint16_t bits;
};

float to_float(Half half) { return half_to_float(half.bits); }
float to_float(double value) { return double_to_float(value); }

template <class T>
float to_float(T value) {
  return static_cast<float>(value);
}

template <class T>
T element_at(std::span<const std::byte> bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

/// Calls `use` with a value of the C++ type of `type`.
template <class Use>
decltype(auto) with_type(ElementType type, Use&& use) {
  switch (type) {
    case ElementType::kF2:
      return use(Half{});
    case ElementType::kF4:
      return use(float{});
    case ElementType::kF8:
      return use(double{});
    case ElementType::kI1:
      return use(std::int8_t{});
    case ElementType::kI2:
      return use(std::int16_t{});
    case ElementType::kI4:
      return use(std::int32_t{});
    case ElementType::kI8:
      return use(std::int64_t{});
    case ElementType::kU1:
      return use(std::uint8_t{});
    case ElementType::kU2:
      return use(std::uint16_t{});
    case ElementType::kU4:
      return use(std::uint32_t{});
    case ElementType::kU8:
      return use(std::uint64_t{});
  }
  throw Error(ErrorCode::kInternal, "an element type that does not exist");
}

/// Reads the rows in pieces and hands each row's elements to `take(row, bytes)`.
template <class Take>
void for_each_row(const InputFile& file, const ArrayLayout& layout, PrefixCheck check_prefix,
                  Take&& take) {
  const std::uint64_t row_bytes = layout.row_skip + layout.cols * element_size(layout.type);
  if (row_bytes == 0) return;
  const std::uint64_t rows_at_once =
      std::min(layout.rows, std::max<std::uint64_t>(1, kChunk / row_bytes));
  std::vector<std::byte> buffer(rows_at_once * row_bytes);
  for (std::uint64_t begin = 0; begin < layout.rows; begin += rows_at_once) {
    const std::uint64_t count = std::min(rows_at_once, layout.rows - begin);
    file.read(layout.offset + begin * row_bytes, std::span(buffer).first(count * row_bytes));
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto record = std::span<const std::byte>(buffer).subspan(i * row_bytes, row_bytes);
      if (check_prefix != nullptr) {
        check_prefix(file, layout, begin + i, record.first(layout.row_skip));
      }
      take(begin + i, record.subspan(layout.row_skip));
    }
  }
}

}  // namespace

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa x 2^-24
    const float value = std::ldexp(static_cast<float>(mantissa), -24);
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112;  // 127 - 15
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

float double_to_float(double value) {
  constexpr double kMax = std::numeric_limits<float>::max();
  if (std::isfinite(value) && std::abs(value) > kMax) {
    return std::copysign(std::numeric_limits<float>::infinity(), value < 0 ? -1.0f : 1.0f);
  }
  return static_cast<float>(value);
}

std::size_t element_size(ElementType type) {
  return with_type(type, [](auto value) { return sizeof(value); });
}

bool is_integer(ElementType type) {
  return with_type(type, [](auto value) { return std::is_integral_v<decltype(value)>; });
}

std::uint64_t checked_size(const std::filesystem::path& path, std::uint64_t rows,
                           std::uint64_t cols, std::size_t size) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  // No column still is a byte a row here, so that a file of nothing cannot promise 2^60 rows.
  const std::uint64_t row_size = std::max<std::uint64_t>(1, cols);
  if (row_size > kMax / size || rows > kMax / (row_size * size)) {
    fail(ErrorCode::kCorrupt, path,
         "an array of " + std::to_string(rows) + " x " + std::to_string(cols) +
             " elements cannot lie in a file");
  }
  return rows * cols * size;
}

void convert(std::span<const std::byte> bytes, ElementType type, std::span<float> out) {
  with_type(type, [&](auto sample) {
    using T = decltype(sample);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_float(element_at<T>(bytes, i));
  });
}

void convert(const std::filesystem::path& path, std::span<const std::byte> bytes, ElementType type,
             std::span<std::int64_t> out) {
  with_type(type, [&](auto sample) {
    using T = decltype(sample);
    if constexpr (std::is_integral_v<T>) {
      for (std::size_t i = 0; i < out.size(); ++i) {
        const T value = element_at<T>(bytes, i);
        if (std::is_same_v<T, std::uint64_t> && static_cast<std::uint64_t>(value) >> 63 != 0) {
          fail(ErrorCode::kInvalidArgument, path,
               "the value " + std::to_string(value) + " does not fit in 63 bits");
        }
        out[i] = static_cast<std::int64_t>(value);
      }
    } else {
      fail(ErrorCode::kUnsupportedFormat, path, "holds floating-point numbers, not integers");
    }
  });
}

Matrix read_floats(const InputFile& file, const ArrayLayout& layout, PrefixCheck check_prefix) {
  Matrix matrix(layout.rows, layout.cols);
  for_each_row(file, layout, check_prefix, [&](std::uint64_t row, auto bytes) {
    convert(bytes, layout.type, matrix.span().row_span(row));
  });
  return matrix;
}

IdMatrix read_integers(const InputFile& file, const ArrayLayout& layout, PrefixCheck check_prefix) {
  IdMatrix matrix{layout.rows, layout.cols, {}};
  matrix.values.resize(layout.rows * layout.cols);
  for_each_row(file, layout, check_prefix, [&](std::uint64_t row, auto bytes) {
    convert(file.path(), bytes, layout.type,
            std::span(matrix.values).subspan(row * layout.cols, layout.cols));
  });
  return matrix;
}

}  // namespace halo::io
