#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "halo/index/memory_estimate.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/outputs.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/cli/zero_vectors.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {
namespace {

/// The most memory this process has held so far.
std::uint64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts kilobytes
}

void report(const BuildCommand& command, const GraphSnapshot& snapshot, const ZeroVectors& left_out,
            double seconds, Session& session) {
  const std::uint64_t file_size = std::filesystem::file_size(command.out);
  nlohmann::ordered_json facts = {
      {"index", command.out.string()},
      {"vectors", snapshot.size()},
      {"zero_vectors_left_out", left_out.rows},
      {"dim", snapshot.dim()},
      {"metric", metric_name(snapshot.metric())},
      {"M", snapshot.M()},
      {"ef_construction", snapshot.ef_construction()},
      {"codes", code_kind_name(snapshot.codes().kind())},
      {"stored", code_kind_name(snapshot.stored())},
      {"layers", snapshot.num_layers()},
      {"average_degree", snapshot.average_degree()},
      {"unreachable", snapshot.unreachable_count()},
      {"build_seconds", seconds},
      {"index_bytes", snapshot.memory_usage().total()},
      {"peak_memory_bytes", peak_memory()},
      {"file_bytes", file_size},
  };
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("index", command.out.string());
    lines.add("vectors", with_commas(snapshot.size()));
    if (!left_out.rows.empty()) {
      lines.add("left out", with_commas(left_out.rows.size()) + " without length, row " +
                                with_commas(left_out.rows.front()) + " first");
    }
    lines.add("dimension", with_commas(snapshot.dim()));
    lines.add("metric", std::string(metric_name(snapshot.metric())));
    lines.add("codes", std::string(code_kind_name(snapshot.codes().kind())) + ", vectors kept as " +
                           std::string(code_kind_name(snapshot.stored())));
    lines.add("layers", std::to_string(snapshot.num_layers()));
    lines.add("average degree", fixed(snapshot.average_degree(), 1) + " links a vector in layer 0");
    lines.add("unreachable", with_commas(snapshot.unreachable_count()));
    lines.add("time", duration(seconds) + " on " + std::to_string(session.executor().threads()) +
                          " threads, " +
                          with_commas(static_cast<std::uint64_t>(
                              static_cast<double>(snapshot.size()) / std::max(seconds, 1e-9))) +
                          " vectors/s");
    lines.add("memory", bytes(snapshot.memory_usage().total()) + " the index, " +
                            bytes(peak_memory()) + " at most while building");
    lines.add("file", bytes(file_size));
    lines.print(out);
  });
}

std::optional<CodeKind> parse_codes(const std::string& name) {
  for (const CodeKind kind : {CodeKind::kF32, CodeKind::kBf16, CodeKind::kInt8, CodeKind::kF16}) {
    if (name == code_kind_name(kind)) return kind;
  }
  return std::nullopt;  // "auto": the command line lets nothing else through
}

void report_estimate(std::size_t vectors, std::size_t dim, const BuildOptions& options,
                     Session& session) {
  const MemoryEstimate estimate = estimate_memory(vectors, dim, options);
  nlohmann::ordered_json facts = {
      {"vectors", vectors},
      {"dim", dim},
      {"index_bytes", estimate.sealed()},
      {"memory_bytes",
       {{"vectors", estimate.vectors},
        {"codes", estimate.codes},
        {"links", estimate.links},
        {"ids", estimate.ids},
        {"other", estimate.other}}},
      {"peak_memory_bytes", estimate.peak()},
  };
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("vectors", with_commas(vectors) + " of dimension " + with_commas(dim));
    lines.add("index", "at most " + bytes(estimate.sealed()) + ": vectors " +
                           bytes(estimate.vectors) + ", codes " + bytes(estimate.codes) +
                           ", links " + bytes(estimate.links) + ", ids " + bytes(estimate.ids) +
                           ", other " + bytes(estimate.other));
    lines.add("building", "at most " + bytes(estimate.peak()) + " beside the vectors read");
    lines.print(out);
  });
}

}  // namespace

void run_build(const BuildCommand& command, Session& session) {
  BuildOptions options;
  options.metric = parse_metric(command.metric);
  options.M = command.M;
  options.ef_construction = command.ef_construction;
  options.seed = session.common().seed.value_or(options.seed);
  options.deterministic = command.deterministic;
  options.codes = parse_codes(command.codes);
  options.stored = parse_codes(command.stored);
  options.validate();
  check_output(command.out, {command.vectors, command.ids});

  const std::uint64_t limit = command.memory_limit;
  if (limit != 0) {
    // The least that the vectors of any kind of file take; where there is no file, loading says so.
    std::error_code missing;
    const std::uintmax_t read = std::filesystem::file_size(command.vectors, missing);
    if (!missing) check_memory_limit(read, limit, "reading these vectors");
  }
  Matrix vectors = io::load_vectors(command.vectors);
  std::vector<Id> ids;
  if (!command.ids.empty()) ids = io::load_ids(command.ids);
  if (!command.ids.empty() && ids.size() != vectors.rows()) {
    throw Error(ErrorCode::kInvalidArgument, command.ids.string() + ": " +
                                                 std::to_string(ids.size()) + " ids for " +
                                                 std::to_string(vectors.rows()) + " vectors");
  }
  ZeroVectors left_out;
  if (options.metric == Metric::kCosine) {
    left_out = leave_out_zero_vectors(vectors, ids, command.zero_vectors);
  }
  if (command.dry_run) {
    report_estimate(vectors.rows(), vectors.cols(), options, session);
    return;
  }
  if (limit != 0) {
    const std::size_t read =
        vectors.rows() * vectors.stride() * sizeof(float) + ids.size() * sizeof(Id);
    const std::size_t building = estimate_growth(0, 0, vectors.rows(), vectors.cols(), options);
    check_memory_limit(read + building, limit, "these vectors and their index");
    options.memory_limit = limit - read;
  }
  const auto started = std::chrono::steady_clock::now();
  const Engine engine = Engine::build(vectors, ids, options, session.executor(), session.job());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  session.job().check();
  engine.save(command.out);
  report(command, *engine.snapshot(), left_out, taken.count(), session);
}

}  // namespace halo::cli
