#include "halo/integration/io/vecs.h"

#include <cctype>
#include <cstdint>
#include <cstring>
#include <string>

#include "halo/integration/io/elements.h"

namespace halo::io {

namespace fs = std::filesystem;

namespace {

ElementType type_of(const fs::path& path) {
  const std::string name = path.filename().string();
  switch (std::tolower(static_cast<unsigned char>(name[name.rfind('.') + 1]))) {
    case 'f':
      return ElementType::kF4;
    case 'b':
      return ElementType::kU1;
    default:
      return ElementType::kI4;
  }
}

std::int32_t length_in(std::span<const std::byte> prefix) {
  std::int32_t length = 0;
  std::memcpy(&length, prefix.data(), sizeof length);
  return length;
}

ArrayLayout layout_of(const InputFile& file, ElementType type) {
  ArrayLayout layout;
  layout.type = type;
  layout.row_skip = sizeof(std::int32_t);
  if (file.size() == 0) return layout;
  std::byte prefix[sizeof(std::int32_t)];
  file.read(0, prefix);
  const std::int32_t length = length_in(prefix);
  const std::uint64_t record =
      layout.row_skip + static_cast<std::uint64_t>(length > 0 ? length : 0) * element_size(type);
  if (length <= 0 || file.size() % record != 0) {
    fail(ErrorCode::kCorrupt, file.path(),
         "records of " + std::to_string(length) + " elements do not make up a file of " +
             std::to_string(file.size()) + " bytes: truncated, or not of this format");
  }
  layout.rows = file.size() / record;
  layout.cols = static_cast<std::uint64_t>(length);
  return layout;
}

void check_length(const InputFile& file, const ArrayLayout& layout, std::uint64_t row,
                  std::span<const std::byte> prefix) {
  if (const std::int32_t length = length_in(prefix);
      length != static_cast<std::int64_t>(layout.cols)) {
    fail(ErrorCode::kCorrupt, file.path(),
         "record " + std::to_string(row) + " has " + std::to_string(length) +
             " elements, the first one " + std::to_string(layout.cols));
  }
}

}  // namespace

Matrix read_vecs_vectors(const FileSystem& file_system, const fs::path& path) {
  const ElementType type = type_of(path);
  if (type == ElementType::kI4) {
    fail(ErrorCode::kUnsupportedFormat, path, "an .ivecs file holds ids, not vectors");
  }
  const InputFile file(file_system, path);
  return read_floats(file, layout_of(file, type), check_length);
}

IdMatrix read_vecs_integers(const FileSystem& file_system, const fs::path& path) {
  const ElementType type = type_of(path);
  if (type != ElementType::kI4) {
    fail(ErrorCode::kUnsupportedFormat, path, "holds vectors; integers are read from .ivecs");
  }
  const InputFile file(file_system, path);
  return read_integers(file, layout_of(file, type), check_length);
}

}  // namespace halo::io
