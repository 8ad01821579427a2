// A file system in memory, for tests that read or write thousands of small files.
//
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "halo/integration/io/file.h"

namespace halo::io::test {

using Bytes = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span(text));
  return Bytes(view.begin(), view.end());
}

class MemoryFileSystem : public FileSystem {
 public:
  using Path = std::filesystem::path;
  MemoryFileSystem() = default;
  MemoryFileSystem(const Path& path, Bytes bytes) { set(path, std::move(bytes)); }

  void set(const Path& path, Bytes bytes) {
    files_[path] = std::make_shared<Bytes>(std::move(bytes));
  }
  const Bytes& get(const Path& path) const { return *files_.at(path); }
  std::size_t count() const { return files_.size(); }

  std::unique_ptr<ReadableFile> open(const Path& path) const override {
    if (files_.count(path) == 0) throw_errno("open", path, ENOENT);
    return std::make_unique<Readable>(files_.at(path));
  }
  WriteTarget write_target(const Path& path) const override {
    return {path, files_.count(path) != 0};
  }
  TemporaryFile create_temporary(const WriteTarget& target) const override {
    const Path name = target.path.string() + ".tmp" + std::to_string(next_++);
    files_[name] = std::make_shared<Bytes>();
    return {name, std::make_unique<Writable>(files_[name])};
  }
  void rename(const Path& from, const Path& to) const override {
    files_[to] = files_.at(from);
    files_.erase(from);
  }
  bool exchange(const Path& a, const Path& b) const override {
    if (can_exchange) std::swap(files_.at(a), files_.at(b));
    return can_exchange;
  }
  void remove(const Path& path) const override { files_.erase(path); }
  void sync_folder(const Path&) const override {}

  bool can_exchange = true;

 private:
  class Readable : public ReadableFile {
   public:
    explicit Readable(std::shared_ptr<const Bytes> bytes) : bytes_(std::move(bytes)) {}
    std::uint64_t size() const override { return bytes_->size(); }
    std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) const override {
      if (offset >= bytes_->size()) return 0;
      const std::size_t count = std::min<std::size_t>(out.size(), bytes_->size() - offset);
      std::copy_n(bytes_->begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
      return count;
    }

   private:
    std::shared_ptr<const Bytes> bytes_;
  };
  class Writable : public WritableFile {
   public:
    explicit Writable(std::shared_ptr<Bytes> bytes) : bytes_(std::move(bytes)) {}
    std::size_t write(std::span<const std::byte> data) override {
      bytes_->insert(bytes_->end(), data.begin(), data.end());
      return data.size();
    }
    void sync() override {}

   private:
    std::shared_ptr<Bytes> bytes_;
  };

  mutable std::map<Path, std::shared_ptr<Bytes>> files_;
  mutable int next_ = 0;
};

}  // namespace halo::io::test
