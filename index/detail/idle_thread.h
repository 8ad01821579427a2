// Work that gives way to everything else on the machine.
//
// Thread-safety: may be called from any thread. Private to the index room.
#pragma once

#include <functional>
#include <memory>

namespace halo::detail {

/// Ends the patience of run_when_idle(): what runs there, now or later, runs as any other thread
/// does. Copies mean the same work.
class Hurry {
 public:
  Hurry();
  void up() const;

 private:
  friend void run_when_idle(const std::function<void()>& work, const Hurry& hurry);
  struct State;
  std::shared_ptr<State> state_;
};

/// Runs `work` on a thread of its own, which the system only runs where a core has nothing else to
/// do (SCHED_IDLE; an ordinary thread where the system has no such thing), and waits for it.
/// Rethrows what it throws. Runs it on the calling thread where none can be made.
void run_when_idle(const std::function<void()>& work, const Hurry& hurry);

}  // namespace halo::detail
