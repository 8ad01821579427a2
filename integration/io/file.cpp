#include "halo/integration/io/file.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace halo::io {

namespace fs = std::filesystem;

namespace {

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::kNoSpace;
    case ENOENT:
      return ErrorCode::kNotFound;
    case ENOMEM:
      return ErrorCode::kOutOfMemory;
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

void throw_errno(std::string_view operation, const fs::path& path, int error_number) {
  const std::string reason = std::error_code(error_number, std::generic_category()).message();
  throw Error(code_of(error_number),
              "cannot " + std::string(operation) + " " + path.string() + ": " + reason);
}

void fail(ErrorCode code, const fs::path& path, std::string_view what) {
  throw Error(code, path.string() + ": " + std::string(what));
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t count = file_->read_at(offset, out);
    if (count == 0) {
      fail(ErrorCode::kCorrupt, path_,
           "the file ends at byte " + std::to_string(offset) + ", before its contents do");
    }
    offset += count;
    out = out.subspan(count);
  }
}

}  // namespace halo::io
