// Work that gives way to everything else on the machine.
//
// Thread-safety: may be called from any thread. Private to the index room.
#pragma once

#include <functional>

namespace halo::detail {

/// Runs `work` on a thread of its own, which the system only runs where a core has nothing else to
/// do (SCHED_IDLE; an ordinary thread where the system has no such thing), and waits for it.
/// Rethrows what it throws. Runs it on the calling thread where none can be made.
void run_when_idle(const std::function<void()>& work);

}  // namespace halo::detail
