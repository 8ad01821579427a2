#include <chrono>
#include <vector>

#include "halo/index/live_index.h"
#include "halo/integration/cli/commands.h"
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
  const Engine after(snapshot);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  session.job().check();
  after.save(command.index);

  const nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"removed", ids.size()},
      {"vectors", snapshot->size()},
      {"seconds", taken.count()},
      {"refinement_model_dropped", before.model() != nullptr},
  };
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("index", command.index.string());
    lines.add("removed", with_commas(ids.size()) + " vectors in " + duration(taken.count()));
    lines.add("vectors", with_commas(snapshot->size()));
    if (before.model()) lines.add("refinement", "belonged to the old index: run halo refine again");
    lines.print(out);
  });
}

}  // namespace halo::cli
