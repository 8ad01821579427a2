#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <vector>

#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/follow_change.h"
#include "halo/integration/cli/model_text.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/cli/zero_vectors.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {
namespace {

// The given ids, or the numbers after the greatest id there is.
std::vector<Id> ids_for(const AddCommand& command, const GraphSnapshot& snapshot,
                        std::size_t rows) {
  std::vector<Id> ids;
  if (!command.ids.empty()) {
    ids = io::load_ids(command.ids);
    if (ids.size() != rows) {
      throw Error(ErrorCode::kInvalidArgument, command.ids.string() + ": " +
                                                   std::to_string(ids.size()) + " ids for " +
                                                   std::to_string(rows) + " vectors");
    }
    return ids;
  }
  const Id greatest = *std::max_element(snapshot.ids().begin(), snapshot.ids().end());
  if (static_cast<std::uint64_t>(std::numeric_limits<Id>::max() - greatest) < rows) {
    throw Error(ErrorCode::kInvalidArgument,
                "no " + std::to_string(rows) + " ids are left after id " +
                    std::to_string(greatest) + ": name them with --ids");
  }
  ids.resize(rows);
  std::iota(ids.begin(), ids.end(), greatest + 1);
  return ids;
}

}  // namespace

void run_add(const AddCommand& command, Session& session) {
  const Engine before = Engine::load(command.index);
  Matrix vectors = io::load_vectors(command.vectors);
  std::vector<Id> ids = ids_for(command, *before.snapshot(), vectors.rows());
  ZeroVectors left_out;
  if (before.snapshot()->metric() == Metric::kCosine) {
    left_out = leave_out_zero_vectors(vectors, ids, command.zero_vectors);
  }
  const auto started = std::chrono::steady_clock::now();
  VectorIndex index =
      VectorIndex::resume(*before.snapshot(), session.executor(), command.deterministic);
  index.add(vectors, ids, session.executor(), session.job());
  const auto snapshot = index.seal(session.executor(), session.job());
  const Engine after = follow_change(before, snapshot, command.refine_later, session);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  session.job().check();
  after.save(command.index);

  const nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"added", vectors.rows()},
      {"first_id", ids.front()},
      {"zero_vectors_left_out", left_out.rows},
      {"vectors", after.snapshot()->size()},
      {"seconds", taken.count()},
      {"refinement", after.model() ? change_facts(*after.model()) : nullptr},
      {"lost_training", lost_training(before, after)},
  };
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("index", command.index.string());
    lines.add("added", with_commas(vectors.rows()) + " vectors in " + duration(taken.count()));
    if (!left_out.rows.empty()) {
      lines.add("left out", with_commas(left_out.rows.size()) + " without length, row " +
                                with_commas(left_out.rows.front()) + " first");
    }
    lines.add("vectors", with_commas(after.snapshot()->size()));
    if (after.model()) lines.add("refinement", change_text(*after.model()));
    if (lost_training(before, after)) lines.add("training", kLostTraining);
    lines.print(out);
  });
}

}  // namespace halo::cli
