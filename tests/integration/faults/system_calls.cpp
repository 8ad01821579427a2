#include "integration/faults/system_calls.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <utility>

namespace halo::faults {
namespace {

thread_local Plan* current = nullptr;

/// Judges a call, with the plan out of the way: keeping record of it makes calls too.
Plan::Verdict judge(const char* name, bool interruptible = false, bool transfers = false) {
  if (current == nullptr) return Plan::Verdict::kProceed;
  Plan* const plan = std::exchange(current, nullptr);
  const auto verdict = plan->judge(name, interruptible, transfers);
  const int error = errno;
  current = plan;
  errno = error;
  return verdict;
}

bool fails(const char* name, bool interruptible = false) {
  return judge(name, interruptible) == Plan::Verdict::kFail;
}

bool is_folder(int descriptor) {
  struct stat status {};
  return syscall(SYS_fstat, descriptor, &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace

Plan::Plan(Kind kind, std::size_t fail_at, bool can_exchange)
    : kind_(kind), fail_at_(fail_at), can_exchange_(can_exchange) {
  current = this;
}

Plan::~Plan() { current = nullptr; }

const Call* Plan::spoiled() const {
  const auto found =
      std::find_if(calls_.begin(), calls_.end(), [](const Call& call) { return call.failed; });
  return found == calls_.end() ? nullptr : &*found;
}

Plan::Verdict Plan::judge(const char* name, bool interruptible, bool transfers) {
  const bool due = calls_.size() == fail_at_;
  calls_.push_back({name, false});
  const auto fail = [&](int error) {
    calls_.back().failed = true;
    errno = error;
    return Verdict::kFail;
  };
  const bool writes = calls_.back().name == "write";
  if (full_ && (writes || calls_.back().name == "fsync")) return fail(ENOSPC);
  if (!due) return Verdict::kProceed;
  switch (kind_) {
    case Kind::kNone:
      return Verdict::kProceed;
    case Kind::kEio:
      return fail(EIO);
    case Kind::kNoSpace:
      return fail(ENOSPC);
    case Kind::kInterrupted:
      return interruptible ? fail(EINTR) : Verdict::kProceed;
    case Kind::kShort:
      if (!transfers) return Verdict::kProceed;
      calls_.back().failed = true;
      return Verdict::kHalf;
    case Kind::kFull:
      if (!writes) return Verdict::kProceed;
      full_ = calls_.back().failed = true;
      return Verdict::kHalf;
  }
  return Verdict::kProceed;
}

}  // namespace halo::faults

// The C library's names, straight to the kernel. A call of zero bytes cannot be halved.
using halo::faults::fails;
using halo::faults::judge;
using Verdict = halo::faults::Plan::Verdict;

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : mode_t{0};
  va_end(arguments);
  if (fails((flags & O_DIRECTORY) != 0 ? "open folder" : "open", true)) return -1;
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

ssize_t write(int descriptor, const void* data, size_t size) {
  const Verdict verdict = judge("write", true, true);
  if (verdict == Verdict::kFail) return -1;
  return syscall(SYS_write, descriptor, data, verdict == Verdict::kHalf ? (size + 1) / 2 : size);
}

ssize_t pread(int descriptor, void* data, size_t size, off_t offset) {
  const Verdict verdict = judge("pread", true, true);
  if (verdict == Verdict::kFail) return -1;
  return syscall(SYS_pread64, descriptor, data, verdict == Verdict::kHalf ? (size + 1) / 2 : size,
                 offset);
}

int fsync(int descriptor) {
  if (fails(halo::faults::is_folder(descriptor) ? "fsync folder" : "fsync", true)) return -1;
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}

int rename(const char* from, const char* to) noexcept {
  if (fails("rename")) return -1;
  return static_cast<int>(syscall(SYS_rename, from, to));
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  if (halo::faults::current != nullptr && !halo::faults::current->can_exchange()) {
    errno = EINVAL;
    return -1;
  }
  if (fails("renameat2")) return -1;
  return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int unlink(const char* path) noexcept {
  if (fails("unlink")) return -1;
  return static_cast<int>(syscall(SYS_unlink, path));
}

int fchmod(int descriptor, mode_t mode) noexcept {
  if (fails("fchmod")) return -1;
  return static_cast<int>(syscall(SYS_fchmod, descriptor, mode));
}

int flock(int descriptor, int operation) noexcept {
  if (fails("flock")) return -1;
  return static_cast<int>(syscall(SYS_flock, descriptor, operation));
}

int fstat(int descriptor, struct stat* status) noexcept {
  if (fails("fstat")) return -1;
  return static_cast<int>(syscall(SYS_fstat, descriptor, status));
}

int stat(const char* path, struct stat* status) noexcept {
  if (fails("stat")) return -1;
  return static_cast<int>(syscall(SYS_stat, path, status));
}

}  // extern "C"
