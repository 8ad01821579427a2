#include <malloc.h>

#include <chrono>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/model_text.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {
namespace {

// Preparation is a chain of matrices of a few megabytes, each freed before the next: given back to
// the system each time, their pages cost a tenth of a small index's refinement.
void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMegabyte = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, 32 * kMegabyte);
  mallopt(M_TRIM_THRESHOLD, 256 * kMegabyte);
  mallopt(M_TOP_PAD, 32 * kMegabyte);
#endif
}

gnn::RefineOptions options_of(const RefineCommand& command) {
  gnn::RefineOptions options;
  if (command.window_entries == 0) return options;
  options.entries.share =
      static_cast<float>(command.window_entries) / static_cast<float>(options.window);
  options.validate();
  return options;
}

}  // namespace

void run_refine(const RefineCommand& command, Session& session) {
  keep_freed_memory();
  const Engine plain = Engine::load(command.index);
  Matrix queries;
  if (!command.queries.empty()) queries = io::load_vectors(command.queries, io::VectorRole::kQuery);
  const auto started = std::chrono::steady_clock::now();
  const Engine engine = command.changed ? plain.recomputed(session.executor(), session.job())
                                        : plain.refined(options_of(command), session.executor(),
                                                        session.job(), queries);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  session.job().check();
  engine.save(command.index);

  const std::uint64_t file_size = std::filesystem::file_size(command.index);
  nlohmann::ordered_json facts = {{"index", command.index.string()},
                                  {"vectors", engine.snapshot()->size()},
                                  {"model", model_facts(*engine.model())},
                                  {"prepare_seconds", taken.count()},
                                  {"file_bytes", file_size}};
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("index", command.index.string());
    describe_model(*engine.model(), lines);
    lines.add("time", duration(taken.count()) + " on " +
                          std::to_string(session.executor().threads()) + " threads");
    lines.add("file", bytes(file_size));
    lines.print(out);
  });
}

}  // namespace halo::cli
