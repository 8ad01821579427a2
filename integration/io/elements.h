// Dense arrays of little-endian numbers in a file, turned into float32 or int64: what the vector,
// id and label formats have in common.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"
#include "halo/integration/io/vectors.h"

namespace halo::io {

/// An IEEE 754 binary16, exactly.
float half_to_float(std::uint16_t bits);
/// The nearest float; beyond float's range an infinity, where a plain conversion is undefined.
float double_to_float(double value);

enum class ElementType { kF2, kF4, kF8, kI1, kI2, kI4, kI8, kU1, kU2, kU4, kU8 };

std::size_t element_size(ElementType type);
bool is_integer(ElementType type);

/// rows x cols x size bytes; throws kCorrupt naming `path` where that cannot be a file's length.
std::uint64_t checked_size(const std::filesystem::path& path, std::uint64_t rows,
                           std::uint64_t cols, std::size_t size);

/// `bytes` holds out.size() elements. IEEE half and double are rounded to the nearest float.
void convert(std::span<const std::byte> bytes, ElementType type, std::span<float> out);
/// Integers only; throws kInvalidArgument naming `path` where an unsigned value passes 2^63 - 1.
void convert(const std::filesystem::path& path, std::span<const std::byte> bytes, ElementType type,
             std::span<std::int64_t> out);

/// Where a file keeps an array: `rows` records, `row_skip` bytes of prefix before each, beginning
/// at `offset`. The caller has checked that the records lie within the file.
struct ArrayLayout {
  ElementType type = ElementType::kF4;
  std::uint64_t rows = 0;
  std::uint64_t cols = 0;
  std::uint64_t offset = 0;
  std::uint64_t row_skip = 0;
};

/// Reads the array in pieces of a few megabytes. `check_prefix`, unless null, sees every record's
/// first row_skip bytes and may throw.
using PrefixCheck = void (*)(const InputFile& file, const ArrayLayout& layout, std::uint64_t row,
                             std::span<const std::byte> prefix);
Matrix read_floats(const InputFile& file, const ArrayLayout& layout,
                   PrefixCheck check_prefix = nullptr);
IdMatrix read_integers(const InputFile& file, const ArrayLayout& layout,
                       PrefixCheck check_prefix = nullptr);

}  // namespace halo::io
