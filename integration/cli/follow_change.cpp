#include "halo/integration/cli/follow_change.h"

#include <utility>

namespace halo::cli {

Engine follow_change(const Engine& before, std::shared_ptr<const GraphSnapshot> changed, bool later,
                     Session& session) {
  const Engine carried =
      before.with_snapshot(std::move(changed), session.executor(), session.job());
  if (later || !carried.model()) return carried;
  return carried.recomputed(session.executor(), session.job());
}

bool lost_training(const Engine& before, const Engine& after) {
  return before.trained() != nullptr && after.trained() == nullptr;
}

}  // namespace halo::cli
