#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/outputs.h"
#include "halo/integration/cli/query_options.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/npy_writer.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {
namespace {

void report(const SearchCommand& command, const BatchResults& results, Session& session) {
  const LatencySummary latency = summarise_latency(results.latency_seconds);
  nlohmann::ordered_json facts = {
      {"queries", results.found.size()},
      {"k", command.k},
      {"ef", command.ef},
      {"refine", command.refine},
      {"threads", session.executor().threads()},
      {"wall_seconds", results.wall_seconds},
      {"queries_per_second", queries_per_second(results)},
      {"latency_seconds", latency_facts(latency)},
      {"stage_seconds", {{"search", results.search_seconds}, {"refine", results.refine_seconds}}},
  };
  session.report(facts, [&](std::ostream& out) {
    const double queries = std::max<double>(1, static_cast<double>(results.found.size()));
    Facts lines;
    lines.add("queries", with_commas(results.found.size()) + " (k " + std::to_string(command.k) +
                             ", ef " + std::to_string(command.ef) + ", refine " + command.refine +
                             ")");
    lines.add("speed", with_commas(static_cast<std::uint64_t>(queries_per_second(results))) +
                           " queries/s: " + duration(results.wall_seconds) + " on " +
                           std::to_string(session.executor().threads()) + " threads");
    lines.add("latency", describe(latency));
    lines.add("graph search", duration(results.search_seconds / queries) + " a query, " +
                                  duration(results.search_seconds) + " over all threads");
    lines.add("refinement", duration(results.refine_seconds / queries) + " a query, " +
                                duration(results.refine_seconds) + " over all threads");
    lines.print(out);
  });
}

}  // namespace

void run_search(const SearchCommand& command, Session& session) {
  for (const auto& output : {command.out_ids, command.out_scores}) {
    if (!output.empty()) {
      check_output(output, {command.index, command.queries, command.filter});
    }
  }
  if (!command.out_ids.empty() && command.out_ids == command.out_scores) {
    throw Error(ErrorCode::kInvalidArgument, "--out-ids and --out-scores name the same file");
  }
  const Engine engine = Engine::load(command.index);
  const Matrix queries = io::load_vectors(command.queries, io::VectorRole::kQuery);
  QueryOptions options;
  options.k = command.k;
  options.ef = command.ef;
  options.refine = parse_refine_mode(command.refine);
  options.candidates = command.candidates;
  if (!command.filter.empty()) {
    options.filter = Filter::of_ids(*engine.snapshot(), io::load_ids(command.filter));
  }
  const BatchResults results =
      search_or_stop(engine, queries, options, session.executor(), session.job());
  if (!command.out_ids.empty()) {
    io::write_npy(command.out_ids, results.found.size(), results.k, results.ids);
  }
  if (!command.out_scores.empty()) {
    io::write_npy(command.out_scores,
                  MatrixView(results.scores.data(), results.found.size(), results.k));
  }
  report(command, results, session);
}

}  // namespace halo::cli
