// The engine a service answers with, replaced while it is in use: each request takes the engine of
// its moment and keeps it to its end.
//
// Thread-safety: everything may be called from any number of threads; load() never waits. A
// replaced engine is freed when its last request ends and another one was published.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "halo/core/published.h"
#include "halo/integration/engine.h"

namespace halo {

class EngineHandle {
 public:
  explicit EngineHandle(std::shared_ptr<const Engine> engine) : published_(std::move(engine)) {}

  std::shared_ptr<const Engine> load() const { return published_.load(); }

  void publish(std::shared_ptr<const Engine> engine) {
    auto cell = std::make_unique<Published<Engine>::Cell>(std::move(engine));
    const std::lock_guard<std::mutex> lock(mutex_);
    published_.publish(std::move(cell));
  }

 private:
  std::mutex mutex_;
  Published<Engine> published_;
};

}  // namespace halo
