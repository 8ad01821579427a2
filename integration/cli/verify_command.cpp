#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/bundle.h"

namespace halo::cli {

void run_verify(const VerifyCommand& command, Session& session) {
  // The bundle's checksums first: they name the section that is damaged. Loading then checks every
  // invariant of what the sections hold.
  const io::BundleReader bundle(command.index);
  const Engine engine = Engine::load(command.index);
  session.job().check();
  const GraphSnapshot& snapshot = *engine.snapshot();
  if (snapshot.unreachable_count() != 0) {
    throw Error(ErrorCode::kCorrupt, command.index.string() + ": " +
                                         with_commas(snapshot.unreachable_count()) +
                                         " vectors cannot be reached from the entry point");
  }
  std::uint64_t links = 0;
  for (std::size_t layer = 0; layer < snapshot.num_layers(); ++layer) {
    links += snapshot.edges(layer).entries();
  }
  std::uint64_t section_bytes = 0;
  for (const auto& section : bundle.sections()) section_bytes += section.size;
  const nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"valid", true},
      {"sections", bundle.sections().size()},
      {"section_bytes", section_bytes},
      {"vectors", snapshot.size()},
      {"dim", snapshot.dim()},
      {"layers", snapshot.num_layers()},
      {"links", links},
      {"unreachable", snapshot.unreachable_count()},
      {"refinement_model", engine.model() != nullptr},
  };
  session.report(facts, [&](std::ostream& out) {
    out << command.index.string() << ": valid\n";
    Facts lines;
    lines.add("checksums",
              std::to_string(bundle.sections().size()) + " sections, " + bytes(section_bytes));
    lines.add("vectors", with_commas(snapshot.size()) + " of dimension " +
                             with_commas(snapshot.dim()) + ", all finite, ids unique");
    lines.add("links", with_commas(links) + " in " + std::to_string(snapshot.num_layers()) +
                           " layers, all within their layer");
    lines.add("unreachable", "0");
    lines.add("refinement", engine.model() ? "prepared, fits this index" : "not prepared");
    lines.print(out);
  });
}

}  // namespace halo::cli
