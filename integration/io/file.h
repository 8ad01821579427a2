// The seam between halo and the file system: everything halo reads or writes goes through it, so
// that tests can make any single call fail.
//
// Thread-safety: a FileSystem may be used by any number of threads; an open file by one.
// Errors: ENOSPC, EDQUOT and EFBIG are kNoSpace, ENOENT is kNotFound, ENOMEM is kOutOfMemory, every
// other refusal of the operating system is kIo; the message names the path and the system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"

namespace halo::io {

/// Throws the Error that `error_number` stands for: "cannot <operation> <path>: <reason>".
[[noreturn]] void throw_errno(std::string_view operation, const std::filesystem::path& path,
                              int error_number);
/// Throws "<path>: <what>".
[[noreturn]] void fail(ErrorCode code, const std::filesystem::path& path, std::string_view what);

/// Calls `read`; exhausted memory comes out as kOutOfMemory naming the file.
template <class Read>
auto reporting_memory(const std::filesystem::path& path, Read&& read) {
  try {
    return std::forward<Read>(read)();
  } catch (const std::bad_alloc&) {
    throw_out_of_memory([&] { return path.string() + ": not enough memory for what it holds"; });
  }
}

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  /// Bytes in the file when it was opened.
  virtual std::uint64_t size() const = 0;
  /// Reads up to out.size() bytes at `offset`; returns how many, 0 only at the end of the file.
  virtual std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) const = 0;
};

class WritableFile {
 public:
  virtual ~WritableFile() = default;
  /// Appends up to data.size() bytes; returns how many were taken, as write(2) does.
  virtual std::size_t write(std::span<const std::byte> data) = 0;
  /// Returns once everything written is on the disk.
  virtual void sync() = 0;
};

/// Where an atomic write will land.
struct WriteTarget {
  std::filesystem::path path;  ///< symbolic links resolved
  bool exists = false;
};

struct TemporaryFile {
  std::filesystem::path path;
  std::unique_ptr<WritableFile> file;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  /// Opens a regular file for reading; anything else (directory, device, pipe) is kIo.
  virtual std::unique_ptr<ReadableFile> open(const std::filesystem::path& path) const = 0;
  /// Resolves `path` for writing; refuses anything but a regular file or a free name with kIo.
  virtual WriteTarget write_target(const std::filesystem::path& path) const = 0;
  /// Creates an empty file with a name of its own in the target's folder, with the target's
  /// permissions, and sweeps away those that dead processes left beside it.
  virtual TemporaryFile create_temporary(const WriteTarget& target) const = 0;
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) const = 0;
  /// Swaps two existing files in one step; false where the file system cannot.
  virtual bool exchange(const std::filesystem::path& a, const std::filesystem::path& b) const = 0;
  virtual void remove(const std::filesystem::path& path) const = 0;
  /// Makes the names in a folder durable.
  virtual void sync_folder(const std::filesystem::path& folder) const = 0;
};

/// The operating system's files.
const FileSystem& posix_file_system();

/// A file open for reading, with its name for error messages and reads that must be complete.
class InputFile {
 public:
  InputFile(const FileSystem& file_system, std::filesystem::path path)
      : path_(std::move(path)), file_(file_system.open(path_)) {}
  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return file_->size(); }
  /// Fills `out` from `offset`; throws kCorrupt where the file ends before.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<ReadableFile> file_;
};

}  // namespace halo::io
