// How a command that changes an index takes its refinement along. Thread-safety: free functions.
#pragma once

#include <memory>

#include "halo/integration/cli/session.h"
#include "halo/integration/engine.h"

namespace halo::cli {

/// `before` over the changed index: its refinement carried along and, unless `later`, the
/// neighbourhood of what changed computed again.
Engine follow_change(const Engine& before, std::shared_ptr<const GraphSnapshot> changed, bool later,
                     Session& session);

/// A trained model is of the vectors it was trained on and does not follow: true where one was
/// lost.
bool lost_training(const Engine& before, const Engine& after);
inline constexpr char kLostTraining[] = "its model was of the vectors before: halo train again";

}  // namespace halo::cli
