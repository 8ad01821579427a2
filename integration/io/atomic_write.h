// Publishing a file in one step: a reader, or the next start after a crash, finds either the whole
// old file or the whole new one.
//
// The bytes go to a temporary file in the same folder, which is synced, moved onto the target, and
// the folder synced. Thread-safety: as FileSystem; writers of one path do not disturb each other,
// the last one to finish wins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "halo/integration/io/file.h"

namespace halo::io {

/// What a writer appends to.
class Output {
 public:
  explicit Output(WritableFile& file, std::filesystem::path name)
      : file_(file), name_(std::move(name)) {}
  /// Appends all of `data`; throws kNoSpace or kIo.
  void write(std::span<const std::byte> data);
  std::uint64_t written() const { return written_; }

 private:
  WritableFile& file_;
  std::filesystem::path name_;
  std::uint64_t written_ = 0;
};

/// Replaces `path` by what `writer` writes. Whatever fails, an exception of `writer` included, the
/// temporary file is removed and `path` holds exactly what it held before; the error is passed on.
/// (Only where the file system can swap two files, as Linux's local ones do, does that include a
/// failing sync of the folder after the move; elsewhere that one error leaves the whole new file.)
void atomic_write(const FileSystem& file_system, const std::filesystem::path& path,
                  const std::function<void(Output&)>& writer);

}  // namespace halo::io
