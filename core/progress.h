// How long work reports where it is, and how a caller stops it.
//
// Thread-safety: a sink's advance() may be called from several threads at once; start() and
// finish() are called by the thread that began the work.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string_view>

#include "halo/core/error.h"

namespace halo {

class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  /// A stage begins; `total` items will follow.
  virtual void start(std::string_view stage, std::uint64_t total) = 0;
  /// `items` more items are done.
  virtual void advance(std::uint64_t items) = 0;
  /// The stage is over.
  virtual void finish() = 0;
};

/// Passed to every long operation. The default reports nothing and cannot be stopped.
struct Job {
  ProgressSink* progress = nullptr;
  std::stop_token stop;

  /// Throws kCancelled once a stop was requested.
  void check() const {
    if (stop.stop_requested()) throw Error(ErrorCode::kCancelled, "stopped on request");
  }
  void advance(std::uint64_t items) const {
    if (progress != nullptr) progress->advance(items);
  }
};

/// Reports one stage for as long as it lives.
class Stage {
 public:
  Stage(const Job& job, std::string_view name, std::uint64_t total) : progress_(job.progress) {
    if (progress_ != nullptr) progress_->start(name, total);
  }
  ~Stage() {
    if (progress_ != nullptr) progress_->finish();
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

 private:
  ProgressSink* progress_;
};

}  // namespace halo
