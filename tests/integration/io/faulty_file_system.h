// A file system in which the n-th call fails, for every test that claims to survive that.
//
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "halo/integration/io/file.h"

namespace halo::io::test {

class FaultyFileSystem : public FileSystem {
 public:
  using Path = std::filesystem::path;
  enum class Fault {
    kEio,
    kNoSpace,
    kShortWrite,  ///< a write takes half, the next one fails with ENOSPC, as a full disk does
    kHarmlessShortWrite,  ///< a write takes half; the caller has to go on
  };

  /// `fail_at`: the number of the failing call, from 0; `lasting`: so does every call after it.
  FaultyFileSystem(const FileSystem& inner, int fail_at, Fault fault, bool lasting = false)
      : inner_(inner), fail_at_(fail_at), fault_(fault), lasting_(lasting) {}
  /// Counts the calls, fails none.
  explicit FaultyFileSystem(const FileSystem& inner)
      : FaultyFileSystem(inner, -1, Fault::kEio, false) {}

  int calls() const { return calls_; }
  bool failed() const { return failed_; }

  std::unique_ptr<ReadableFile> open(const Path& path) const override {
    step("open", path);
    return std::make_unique<Readable>(*this, path, inner_.open(path));
  }
  WriteTarget write_target(const Path& path) const override {
    step("write", path);
    return inner_.write_target(path);
  }
  TemporaryFile create_temporary(const WriteTarget& target) const override {
    step("write", target.path);
    TemporaryFile made = inner_.create_temporary(target);
    return {made.path, std::make_unique<Writable>(*this, target.path, std::move(made.file))};
  }
  void rename(const Path& from, const Path& to) const override {
    step("replace", to);
    inner_.rename(from, to);
  }
  bool exchange(const Path& a, const Path& b) const override {
    step("replace", b);
    return inner_.exchange(a, b);
  }
  void remove(const Path& path) const override {
    step("remove", path);
    inner_.remove(path);
  }
  void sync_folder(const Path& folder) const override {
    step("sync", folder);
    inner_.sync_folder(folder);
  }

 private:
  /// True where this call is to fail.
  bool due() const {
    const int call = calls_++;
    const bool now = fail_at_ >= 0 && (call == fail_at_ || (lasting_ && call > fail_at_));
    failed_ = failed_ || now;
    return now;
  }
  void step(const char* operation, const Path& path) const {
    if (!due()) return;
    if (fault_ == Fault::kHarmlessShortWrite) return;
    throw_errno(operation, path, fault_ == Fault::kEio ? EIO : ENOSPC);
  }

  class Readable : public ReadableFile {
   public:
    Readable(const FaultyFileSystem& owner, Path path, std::unique_ptr<ReadableFile> file)
        : owner_(owner), path_(std::move(path)), file_(std::move(file)) {}
    std::uint64_t size() const override { return file_->size(); }
    std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) const override {
      if (owner_.fault_ == Fault::kHarmlessShortWrite) {
        return file_->read_at(offset, out.first(owner_.due() ? (out.size() + 1) / 2 : out.size()));
      }
      owner_.step("read", path_);
      return file_->read_at(offset, out);
    }

   private:
    const FaultyFileSystem& owner_;
    Path path_;
    std::unique_ptr<ReadableFile> file_;
  };

  class Writable : public WritableFile {
   public:
    Writable(const FaultyFileSystem& owner, Path path, std::unique_ptr<WritableFile> file)
        : owner_(owner), path_(std::move(path)), file_(std::move(file)) {}
    std::size_t write(std::span<const std::byte> data) override {
      if (full_) throw_errno("write", path_, ENOSPC);
      if (owner_.fault_ == Fault::kEio || owner_.fault_ == Fault::kNoSpace) {
        owner_.step("write", path_);
        return file_->write(data);
      }
      if (!owner_.due()) return file_->write(data);
      if (owner_.fault_ == Fault::kShortWrite) {
        full_ = true;
        if (data.size() < 2) throw_errno("write", path_, ENOSPC);
        return file_->write(data.first(data.size() / 2));
      }
      return file_->write(data.first((data.size() + 1) / 2));
    }
    void sync() override {
      if (full_) throw_errno("write", path_, ENOSPC);
      owner_.step("write", path_);
      file_->sync();
    }

   private:
    const FaultyFileSystem& owner_;
    Path path_;
    std::unique_ptr<WritableFile> file_;
    bool full_ = false;
  };

  const FileSystem& inner_;
  int fail_at_;
  Fault fault_;
  bool lasting_;
  mutable int calls_ = 0;
  mutable bool failed_ = false;
};

}  // namespace halo::io::test
