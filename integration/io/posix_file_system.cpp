// The operating system behind the seam of file.h (Linux; other POSIX systems lose only exchange()).
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "halo/integration/io/file.h"

namespace halo::io {

namespace fs = std::filesystem;

namespace {

/// Repeats a call that a signal interrupted.
template <class Call>
auto retry(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

Descriptor open_file(const fs::path& path, int flags, mode_t mode = 0) {
  return Descriptor(retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
}

class PosixReadableFile : public ReadableFile {
 public:
  PosixReadableFile(Descriptor descriptor, fs::path path, std::uint64_t size)
      : descriptor_(std::move(descriptor)), path_(std::move(path)), size_(size) {}

  std::uint64_t size() const override { return size_; }
  std::size_t read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const ssize_t count = retry([&] {
      return ::pread(descriptor_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    });
    if (count < 0) throw_errno("read", path_, errno);
    return static_cast<std::size_t>(count);
  }

 private:
  Descriptor descriptor_;
  fs::path path_;
  std::uint64_t size_;
};

class PosixWritableFile : public WritableFile {
 public:
  /// `name`: what error messages call the file.
  PosixWritableFile(Descriptor descriptor, fs::path name)
      : descriptor_(std::move(descriptor)), name_(std::move(name)) {}

  std::size_t write(std::span<const std::byte> data) override {
    const ssize_t count =
        retry([&] { return ::write(descriptor_.get(), data.data(), data.size()); });
    if (count < 0) throw_errno("write", name_, errno);
    return static_cast<std::size_t>(count);
  }
  void sync() override {
    if (retry([&] { return ::fsync(descriptor_.get()); }) < 0) throw_errno("write", name_, errno);
  }

 private:
  Descriptor descriptor_;
  fs::path name_;
};

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

std::string temporary_prefix(const fs::path& target) {
  std::string prefix = ".";
  prefix += target.filename().string();
  prefix += ".halo-tmp-";
  return prefix;
}

fs::path temporary_name(const fs::path& target) {
  thread_local std::random_device device;
  char digits[32];
  const auto number = (static_cast<std::uint64_t>(device()) << 32) | device();
  const int length =
      std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(number));
  return folder_of(target) /
         (temporary_prefix(target) + std::string(digits, static_cast<std::size_t>(length)));
}

/// A living writer holds a lock on its temporary file; one that can be locked was left by a process
/// that died (kill -9, power loss). Best effort: what cannot be swept stays.
void sweep_abandoned(const fs::path& target) {
  const std::string prefix = temporary_prefix(target);
  const fs::path folder = folder_of(target);
  // Not std::filesystem's iterator: libstdc++'s ends the process where it gets no memory.
  struct Close {
    void operator()(DIR* entries) const { ::closedir(entries); }
  };
  const std::unique_ptr<DIR, Close> entries(::opendir(folder.c_str()));
  if (!entries) return;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name.size() != prefix.size() + 16 || !name.starts_with(prefix)) continue;
    const fs::path path = folder / name;
    const Descriptor found = open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat status {};
    if (!found.valid() || ::fstat(found.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (::flock(found.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
  }
}

class PosixFileSystem : public FileSystem {
 public:
  std::unique_ptr<ReadableFile> open(const fs::path& path) const override {
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    Descriptor descriptor = open_file(path, O_RDONLY | O_NONBLOCK);
    struct stat status {};
    if (!descriptor.valid() || ::fstat(descriptor.get(), &status) != 0) {
      throw_errno("open", path, errno);
    }
    if (S_ISDIR(status.st_mode)) throw_errno("read", path, EISDIR);
    if (!S_ISREG(status.st_mode)) fail(ErrorCode::kIo, path, "not a regular file");
    return std::make_unique<PosixReadableFile>(std::move(descriptor), path,
                                               static_cast<std::uint64_t>(status.st_size));
  }

  WriteTarget write_target(const fs::path& path) const override {
    if (!path.has_filename()) throw_errno("write", path, path.empty() ? ENOENT : EISDIR);
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      if (errno != ENOENT) throw_errno("write", path, errno);
      return {path, false};
    }
    if (S_ISDIR(status.st_mode)) throw_errno("write", path, EISDIR);
    // Renaming onto a device or a pipe would replace it.
    if (!S_ISREG(status.st_mode)) fail(ErrorCode::kIo, path, "not a regular file");
    std::error_code error;
    fs::path resolved = fs::canonical(path, error);
    if (error) throw_errno("write", path, error.value());
    return {std::move(resolved), true};
  }

  TemporaryFile create_temporary(const WriteTarget& target) const override {
    sweep_abandoned(target.path);
    for (int attempt = 0; attempt < 100; ++attempt) {
      fs::path name = temporary_name(target.path);
      Descriptor descriptor = open_file(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666);
      if (!descriptor.valid()) {
        if (errno == EEXIST) continue;
        throw_errno("write", target.path, errno);
      }
      // A sweeper may have been faster between open and lock: then the name is gone. Where the file
      // system has no locks, sweepers cannot lock either.
      struct stat status {};
      if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) continue;
      if (::fstat(descriptor.get(), &status) != 0 || status.st_nlink == 0) continue;
      if (target.exists && ::stat(target.path.c_str(), &status) == 0 &&
          ::fchmod(descriptor.get(), status.st_mode & 07777) != 0) {
        const int error_number = errno;
        ::unlink(name.c_str());
        throw_errno("write", target.path, error_number);
      }
      return {std::move(name),
              std::make_unique<PosixWritableFile>(std::move(descriptor), target.path)};
    }
    throw_errno("write", target.path, EEXIST);
  }

  void rename(const fs::path& from, const fs::path& to) const override {
    if (::rename(from.c_str(), to.c_str()) != 0) throw_errno("replace", to, errno);
  }

  bool exchange(const fs::path& a, const fs::path& b) const override {
#ifdef RENAME_EXCHANGE
    if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return true;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP && errno != ENOENT) {
      throw_errno("replace", b, errno);
    }
#endif
    return false;
  }

  void remove(const fs::path& path) const override {
    if (::unlink(path.c_str()) != 0) throw_errno("remove", path, errno);
  }

  void sync_folder(const fs::path& folder) const override {
    const Descriptor descriptor = open_file(folder, O_RDONLY | O_DIRECTORY);
    if (!descriptor.valid()) throw_errno("open", folder, errno);
    // EINVAL: a file system whose folders need no sync.
    if (retry([&] { return ::fsync(descriptor.get()); }) < 0 && errno != EINVAL) {
      throw_errno("sync", folder, errno);
    }
  }
};

}  // namespace

const FileSystem& posix_file_system() {
  static const PosixFileSystem file_system;
  return file_system;
}

}  // namespace halo::io
