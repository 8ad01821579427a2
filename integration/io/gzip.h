// The contents of a file, front to back, gzip (RFC 1952) undone on the way.
//
// Memory is bounded by the caller: nothing is inflated beyond what it asks for. One gzip member a
// file. Thread-safety: an object belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "halo/integration/io/file.h"

namespace halo::io {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `out`; throws kCorrupt where the contents end before.
  virtual void read(std::span<std::byte> out) = 0;
  /// Throws kCorrupt unless exactly everything has been read.
  virtual void expect_end() = 0;
  /// The file's own length.
  virtual std::uint64_t file_bytes() const = 0;
  /// No file of this length holds more bytes than that.
  virtual std::uint64_t most_bytes() const = 0;
};

/// The file as it is.
std::unique_ptr<ByteSource> plain_source(const FileSystem& file_system,
                                         const std::filesystem::path& path);
/// The file inflated; throws kUnsupportedFormat where it is not gzip.
std::unique_ptr<ByteSource> gzip_source(const FileSystem& file_system,
                                        const std::filesystem::path& path);

}  // namespace halo::io
