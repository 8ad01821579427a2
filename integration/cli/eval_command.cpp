#include <optional>
#include <unordered_set>

#include "halo/index/exact_search.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/query_options.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {
namespace {

/// mAP@100 needs this many results.
constexpr std::size_t kQualityDepth = 100;
constexpr std::uint64_t kBootstrapSeed = 1;

/// What results are held against.
struct Reference {
  std::optional<Relevance> relevance;
  std::optional<io::IdMatrix> truth;
};

/// One mode of search, measured.
struct Measured {
  RefineMode mode = RefineMode::kOff;
  std::optional<QualityTable> quality;
  std::optional<double> recall;
  double gate = 0;
  std::size_t speed_k = 0;  ///< the k that speed and latency were measured at
  double queries_per_second = 0;
  LatencySummary latency;
};

void require_count(const std::filesystem::path& path, std::size_t rows, std::size_t expected,
                   const std::string& of_what) {
  if (rows == expected) return;
  throw Error(ErrorCode::kInvalidArgument, path.string() + ": " + std::to_string(rows) +
                                               " rows for " + std::to_string(expected) + " " +
                                               of_what);
}

Relevance read_labels(const EvalCommand& command, const GraphSnapshot& snapshot,
                      std::size_t all_queries, std::size_t queries) {
  const std::vector<std::int64_t> labels = io::load_labels(command.labels);
  require_count(command.labels, labels.size(), snapshot.size(), "vectors");
  std::vector<std::int64_t> query_labels = io::load_labels(command.query_labels);
  require_count(command.query_labels, query_labels.size(), all_queries, "queries");
  query_labels.resize(queries);
  std::vector<Id> ids;
  if (command.label_ids.empty()) {
    for (std::size_t i = 0; i < labels.size(); ++i) ids.push_back(static_cast<Id>(i));
  } else {
    ids = io::load_ids(command.label_ids);
    require_count(command.label_ids, ids.size(), labels.size(), "labels");
  }
  const std::unordered_set<Id> labelled(ids.begin(), ids.end());
  for (const Id id : snapshot.ids()) {
    if (labelled.count(id) == 0) {
      throw Error(ErrorCode::kUnknownId,
                  command.labels.string() + ": id " + std::to_string(id) +
                      " of the index has no label (an index built with --ids needs --label-ids)");
    }
  }
  return Relevance::from_labels(ids, labels, query_labels);
}

io::IdMatrix exhaustive(const GraphSnapshot& snapshot, const MatrixView& queries, std::size_t k,
                        Session& session) {
  SearchOptions options;
  options.k = k;
  const Job job = session.job();
  const SearchResults results =
      exact_search_batch(snapshot, queries, options, session.executor(), job);
  job.check();
  io::IdMatrix table{queries.rows, k, {}};
  for (std::size_t q = 0; q < queries.rows; ++q) {
    const auto found = results.of(q);
    for (std::size_t i = 0; i < k; ++i) {
      table.values.push_back(i < found.size() ? snapshot.id(found[i].node) : Id{-1});
    }
  }
  return table;
}

Reference read_reference(const EvalCommand& command, const GraphSnapshot& snapshot,
                         std::size_t all_queries, std::size_t queries) {
  Reference reference;
  if (!command.labels.empty()) {
    reference.relevance = read_labels(command, snapshot, all_queries, queries);
  }
  if (!command.qrels.empty()) {
    std::vector<io::Judgement> judgements = io::load_qrels(command.qrels, all_queries);
    std::erase_if(judgements, [&](const io::Judgement& j) { return j.query >= queries; });
    reference.relevance = Relevance::from_judgements(judgements, queries);
  }
  if (!command.ground_truth.empty()) {
    reference.truth = io::load_ground_truth(command.ground_truth);
    require_count(command.ground_truth, reference.truth->rows, all_queries, "queries");
    reference.truth->rows = queries;
    reference.truth->values.resize(queries * reference.truth->cols);
  }
  return reference;
}

Measured measure(const EvalCommand& command, const Engine& engine, const MatrixView& queries,
                 RefineMode mode, const Reference& reference, Session& session) {
  Measured measured;
  measured.mode = mode;
  QueryOptions options;
  options.ef = command.ef;
  options.refine = mode;
  options.candidates = command.candidates;
  const auto search_at = [&](std::size_t k) {
    options.k = std::min(k, engine.snapshot()->size());
    if (mode != RefineMode::kOff) options.k = std::min(options.k, command.candidates);
    BatchResults results =
        search_or_stop(engine, queries, options, session.executor(), session.job());
    measured.speed_k = options.k;
    measured.queries_per_second = queries_per_second(results);
    measured.latency = summarise_latency(results.latency_seconds);
    measured.gate = results.gate;
    return results;
  };
  if (reference.relevance) {
    const BatchResults results = search_at(kQualityDepth);
    measured.quality = quality({results.ids, results.k}, *reference.relevance);
  }
  // Last, so that speed is that of the shallower search where both are wanted.
  if (reference.truth) {
    const BatchResults results = search_at(command.k);
    measured.recall = recall_of_ids(command.k, {results.ids, results.k},
                                    {reference.truth->values, reference.truth->cols});
  }
  return measured;
}

std::vector<Interval> differences(const Measured& before, const Measured& after,
                                  std::uint64_t seed) {
  std::vector<Interval> intervals;
  intervals.reserve(std::size(kMeasures));
  for (const Measure measure : kMeasures) {
    intervals.push_back(
        paired_bootstrap(before.quality->of(measure), after.quality->of(measure), seed));
  }
  return intervals;
}

nlohmann::ordered_json facts_of(const Measured& measured, std::size_t k) {
  nlohmann::ordered_json facts = {{"mode", refine_mode_name(measured.mode)}};
  if (measured.quality) {
    for (const Measure measure : kMeasures) {
      facts[std::string(measure_name(measure))] = measured.quality->mean(measure);
    }
  }
  if (measured.recall) facts["recall@" + std::to_string(k)] = *measured.recall;
  if (measured.mode != RefineMode::kOff) facts["gate"] = measured.gate;
  facts["speed_k"] = measured.speed_k;
  facts["queries_per_second"] = measured.queries_per_second;
  facts["latency_seconds"] = latency_facts(measured.latency);
  return facts;
}

std::string with_sign(double share) {
  const std::string text = percent(share);
  return text.front() == '-' ? text : "+" + text;
}

void print_table(const std::vector<Measured>& all,
                 const std::vector<std::vector<Interval>>& intervals, std::size_t k,
                 std::ostream& out) {
  const Measured& first = all.front();
  std::vector<std::string> header = {"refine"};
  if (first.quality) {
    for (const Measure measure : kMeasures) header.emplace_back(measure_name(measure));
  }
  if (first.recall) header.push_back("recall@" + std::to_string(k));
  for (const char* name : {"queries/s", "p50", "p95", "p99"}) header.emplace_back(name);
  Table table(header);
  for (const Measured& measured : all) {
    std::vector<std::string> row = {std::string(refine_mode_name(measured.mode))};
    if (measured.quality) {
      for (const Measure measure : kMeasures)
        row.push_back(percent(measured.quality->mean(measure)));
    }
    if (measured.recall) row.push_back(percent(*measured.recall));
    row.push_back(with_commas(static_cast<std::uint64_t>(measured.queries_per_second)));
    row.push_back(duration(measured.latency.p50));
    row.push_back(duration(measured.latency.p95));
    row.push_back(duration(measured.latency.p99));
    table.add(row);
  }
  for (std::size_t m = 0; m < intervals.size(); ++m) {
    const auto add_row = [&](const std::string& name, double Interval::*value) {
      std::vector<std::string> row = {name};
      for (const Interval& interval : intervals[m]) row.push_back(with_sign(interval.*value));
      row.resize(header.size());
      table.add(row);
    };
    add_row(std::string(refine_mode_name(all[m + 1].mode)) + " - off", &Interval::mean);
    add_row("  95% from", &Interval::low);
    add_row("  95% to", &Interval::high);
  }
  table.print(out);
}

void report(const EvalCommand& command, const Engine& engine, std::size_t queries,
            const std::vector<Measured>& all, Session& session) {
  std::vector<std::vector<Interval>> intervals;  // of each refined mode over the first, off
  for (std::size_t m = 1; m < all.size() && all.front().quality; ++m) {
    intervals.push_back(
        differences(all[0], all[m], session.common().seed.value_or(kBootstrapSeed)));
  }
  nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"vectors", engine.snapshot()->size()},
      {"queries", queries},
      {"ef", command.ef},
      {"candidates", command.candidates},
      {"threads", session.executor().threads()},
  };
  if (all.front().quality) facts["judged_queries"] = all.front().quality->queries.size();
  facts["modes"] = nlohmann::ordered_json::array();
  for (const Measured& measured : all) facts["modes"].push_back(facts_of(measured, command.k));
  for (std::size_t m = 0; m < intervals.size(); ++m) {
    auto& minus = facts[std::string(refine_mode_name(all[m + 1].mode)) + "_minus_off"];
    for (std::size_t i = 0; i < intervals[m].size(); ++i) {
      const Interval& interval = intervals[m][i];
      minus[std::string(measure_name(kMeasures[i]))] = {
          {"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
    }
  }
  session.report(facts, [&](std::ostream& out) {
    out << with_commas(engine.snapshot()->size()) << " vectors, " << with_commas(queries)
        << " queries";
    if (all.front().quality) {
      out << " (" << with_commas(all.front().quality->queries.size()) << " with relevant vectors)";
    }
    out << ", ef " << command.ef << ", candidates " << command.candidates << ", "
        << session.executor().threads() << " threads; speed at k = " << all.front().speed_k
        << "\n\n";
    print_table(all, intervals, command.k, out);
    for (const Measured& measured : all) {
      if (measured.mode != RefineMode::kAuto) continue;
      out << "\nThe harm gate let " << fixed(100 * measured.gate, 0)
          << "% of refinement through.\n";
    }
    if (all.size() == 1) {
      out << "\nThis index is not prepared for refinement (halo refine): plain search only.\n";
    }
  });
}

}  // namespace

void run_eval(const EvalCommand& command, Session& session) {
  const Engine engine = Engine::load(command.index);
  const Matrix matrix = io::load_vectors(command.queries, io::VectorRole::kQuery);
  const std::size_t wanted =
      command.limit == 0 ? matrix.rows() : std::min(command.limit, matrix.rows());
  const MatrixView queries = matrix.view().sub_rows(0, wanted);
  Reference reference = read_reference(command, *engine.snapshot(), matrix.rows(), queries.rows);
  if (command.exact) reference.truth = exhaustive(*engine.snapshot(), queries, command.k, session);

  std::vector<Measured> all;
  all.push_back(measure(command, engine, queries, RefineMode::kOff, reference, session));
  if (engine.model()) {
    all.push_back(measure(command, engine, queries, RefineMode::kAuto, reference, session));
  }
  if (engine.answers_trained()) {
    all.push_back(measure(command, engine, queries, RefineMode::kTrained, reference, session));
  }
  report(command, engine, queries.rows, all, session);
}

}  // namespace halo::cli
