#include <chrono>
#include <vector>

#include "halo/index/live_index.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/follow_change.h"
#include "halo/integration/cli/model_text.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {

void run_remove(const RemoveCommand& command, Session& session) {
  const Engine before = Engine::load(command.index);
  const std::vector<Id> ids = io::load_ids(command.ids);
  const auto started = std::chrono::steady_clock::now();
  LiveOptions options;
  options.background = false;
  options.build.deterministic = command.deterministic;
  LiveIndex index(before.snapshot(), options);
  index.remove(ids);
  const auto snapshot = index.seal(session.executor(), session.job());
  if (!snapshot) {
    throw Error(ErrorCode::kEmpty,
                command.index.string() + ": no vector would be left; delete the file instead");
  }
  const Engine after = follow_change(before, snapshot, command.refine_later, session);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  session.job().check();
  after.save(command.index);

  const nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"removed", ids.size()},
      {"vectors", snapshot->size()},
      {"seconds", taken.count()},
      {"refinement", after.model() ? change_facts(*after.model()) : nullptr},
      {"lost_training", lost_training(before, after)},
  };
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("index", command.index.string());
    lines.add("removed", with_commas(ids.size()) + " vectors in " + duration(taken.count()));
    lines.add("vectors", with_commas(snapshot->size()));
    if (after.model()) lines.add("refinement", change_text(*after.model()));
    if (lost_training(before, after)) lines.add("training", kLostTraining);
    lines.print(out);
  });
}

}  // namespace halo::cli
