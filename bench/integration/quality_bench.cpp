// Retrieval quality of refined search beside published re-ranking methods on the same candidates.
//
//   bench_quality --data DIR [--data DIR]... [--candidates 400] [--k 100] [--queries-limit N]
//                 [--together 1] [--threads N] [--no-baselines] [--json]
//
// DIR holds base.npy, queries.npy and base_labels.npy with query_labels.npy, or qrels.txt. Each is
// indexed by cosine with the defaults and refined with the shipped defaults. Baselines
// (baselines/*.h name their papers and parameters) re-order the index's nearest and read exact
// neighbour lists of the base; auto reads nothing but the index.
#include <CLI/CLI.hpp>

#include <exception>
#include <filesystem>
#include <iostream>
#include <utility>
#include <vector>

#include "halo/core/executor.h"
#include "quality_data.h"
#include "quality_methods.h"
#include "quality_report.h"

namespace halo::bench {
namespace {

struct Command {
  std::vector<std::filesystem::path> folders;
  QualityOptions options;
  std::size_t queries_limit = 0, threads = 0;
  bool json = false;
};

void run(const Command& command) {
  const Executor executor(command.threads);
  std::vector<SetResult> sets;
  for (const auto& folder : command.folders) {
    const QualityData data = load_quality_data(folder, command.queries_limit);
    Methods methods = run_methods(data, command.options, executor);
    sets.push_back({data.name, data.base.rows(), data.queries.rows(), std::move(methods.results),
                    methods.gate});
  }
  if (!command.json) {
    print_tables(sets, std::cout);
    return;
  }
  nlohmann::ordered_json facts = {{"candidates", command.options.candidates},
                                  {"k", command.options.k},
                                  {"together", command.options.together}};
  facts.update(facts_of(sets));
  std::cout << facts.dump(2) << "\n";
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  halo::bench::Command command;
  CLI::App app("Retrieval quality of refined search beside published re-ranking methods");
  app.add_option("--data", command.folders, "Folder of base.npy, queries.npy and relevance")
      ->required();
  app.add_option("--candidates", command.options.candidates, "Nearest vectors to re-order")
      ->check(CLI::PositiveNumber);
  app.add_option("--k", command.options.k, "Results kept")->check(CLI::PositiveNumber);
  app.add_option("--queries-limit", command.queries_limit, "First queries only; 0 for all");
  app.add_option("--together", command.options.together,
                 "Queries that share a graph with the base in k-reciprocal and GNN; 0 for all");
  app.add_option("--threads", command.threads, "0 for every core");
  app.add_flag("!--no-baselines", command.options.baselines, "Only plain search and auto");
  app.add_flag("--json", command.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  try {
    halo::bench::run(command);
  } catch (const std::exception& error) {
    std::cerr << "bench_quality: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
