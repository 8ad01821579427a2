// Makes the n-th system call of this thread fail.
//
// system_calls.cpp defines the calls that halo's file system is made of (open, write, pread, fsync,
// rename, ...) for the whole program; each goes straight to the kernel unless a Plan lives in the
// thread that calls.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace halo::faults {

enum class Kind {
  kNone,         ///< only counts and records
  kEio,          ///< the call fails with EIO
  kNoSpace,      ///< the call fails with ENOSPC
  kInterrupted,  ///< a call that may be interrupted fails with EINTR once; others do their work
  kShort,        ///< a write or read takes half; others do their work
  kFull,         ///< a write takes half, every later write and sync fails with ENOSPC
};

struct Call {
  std::string name;     ///< "write", "fsync", ...; "fsync folder" where it was one
  bool failed = false;  ///< made to fail, or to take half
};

/// While it lives, the calls of this thread are counted, recorded and, at number `fail_at`,
/// spoiled. Only one a thread.
class Plan {
 public:
  /// `can_exchange`: off, files cannot be swapped, as on some file systems.
  explicit Plan(Kind kind = Kind::kNone, std::size_t fail_at = 0, bool can_exchange = true);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const std::vector<Call>& calls() const { return calls_; }
  /// The call that was spoiled, if any.
  const Call* spoiled() const;

  enum class Verdict { kProceed, kFail, kHalf };
  /// For system_calls.cpp: what becomes of this call; sets errno where it fails.
  Verdict judge(const char* name, bool interruptible, bool transfers);
  bool can_exchange() const { return can_exchange_; }

 private:
  Kind kind_;
  std::size_t fail_at_;
  bool can_exchange_;
  bool full_ = false;
  std::vector<Call> calls_;
};

}  // namespace halo::faults
