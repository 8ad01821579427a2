#include "halo/integration/io/npy_writer.h"

#include <bit>
#include <string>
#include <string_view>

#include "halo/integration/io/atomic_write.h"

namespace halo::io {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

namespace {

std::string header(std::string_view descr, std::size_t rows, std::size_t cols) {
  std::string dictionary = "{'descr': '";
  dictionary += descr;
  dictionary += "', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                std::to_string(cols) + "), }";
  // Magic, version, length and dictionary together are a multiple of 64 and end with a newline.
  constexpr std::size_t kStart = 10;
  const std::size_t total = (kStart + dictionary.size() + 1 + 63) / 64 * 64;
  dictionary.resize(total - kStart - 1, ' ');
  dictionary += '\n';
  std::string text("\x93NUMPY\x01\x00", 8);
  text += static_cast<char>(dictionary.size() & 0xff);
  text += static_cast<char>(dictionary.size() >> 8);
  return text + dictionary;
}

}  // namespace

void write_npy(const std::filesystem::path& path, std::size_t rows, std::size_t cols,
               std::span<const std::int64_t> values, const FileSystem& file_system) {
  if (cols == 0 ? !values.empty() : (values.size() % cols != 0 || values.size() / cols != rows)) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(values.size()) + " values are not " +
                                                 std::to_string(rows) + " x " +
                                                 std::to_string(cols));
  }
  const std::string start = header("<i8", rows, cols);
  atomic_write(file_system, path, [&](Output& output) {
    output.write(std::as_bytes(std::span(start)));
    output.write(std::as_bytes(values));
  });
}

void write_npy(const std::filesystem::path& path, const MatrixView& values,
               const FileSystem& file_system) {
  const std::string start = header("<f4", values.rows, values.cols);
  atomic_write(file_system, path, [&](Output& output) {
    output.write(std::as_bytes(std::span(start)));
    if (values.cols == 0) return;
    if (values.stride == values.cols) {
      output.write(std::as_bytes(std::span(values.data, values.rows * values.cols)));
      return;
    }
    for (std::size_t i = 0; i < values.rows; ++i) output.write(std::as_bytes(values.row_span(i)));
  });
}

}  // namespace halo::io
