#include "halo/integration/io/bin.h"

#include <array>
#include <cctype>
#include <cstdint>
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
    case 'u':
      return ElementType::kU1;
    default:
      return ElementType::kI1;
  }
}

}  // namespace

Matrix read_bin_vectors(const FileSystem& file_system, const fs::path& path) {
  const InputFile file(file_system, path);
  std::array<std::uint32_t, 2> shape = {};
  file.read(0, std::as_writable_bytes(std::span(shape)));
  ArrayLayout layout;
  layout.type = type_of(path);
  layout.rows = shape[0];
  layout.cols = shape[1];
  layout.offset = sizeof shape;
  const std::uint64_t expected =
      checked_size(path, layout.rows, layout.cols, element_size(layout.type));
  if (file.size() - sizeof shape != expected) {
    fail(ErrorCode::kCorrupt, path,
         "the header promises " + std::to_string(layout.rows) + " x " +
             std::to_string(layout.cols) + " elements, " + std::to_string(expected) +
             " bytes, but the file holds " + std::to_string(file.size() - sizeof shape));
  }
  return read_floats(file, layout);
}

}  // namespace halo::io
