#include <chrono>

#include "halo/gnn/trained_model.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/label_files.h"
#include "halo/integration/cli/model_text.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/model_tensors.h"
#include "halo/integration/train_data.h"

namespace halo::cli {

void run_import_model(const ImportModelCommand& command, Session& session) {
  const Engine engine = Engine::load(command.index);
  const GraphSnapshot& snapshot = *engine.snapshot();
  if (const auto fusion = io::import_fusion(command.model)) {
    if (!command.labels.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "fusion weights do not use labels");
    }
    engine.with_fusion(fusion).save(command.index, session.job());
    session.report({{"index", command.index.string()},
                    {"model", command.model.string()},
                    {"fusion", fusion_facts(*fusion)}},
                   [&](std::ostream& out) {
                     out << "Weights of the label-free terms: " << fusion_text(*fusion)
                         << "; search with --refine trained.\n"
                         << "They were not judged: halo eval compares them with plain search.\n";
                   });
    return;
  }
  LearnedProjection learned = io::import_model(command.model, snapshot);
  std::vector<std::uint32_t> classes;
  std::size_t num_classes = 0;
  if (!command.labels.empty()) {
    classes = classes_of(labels_of_nodes(command.labels, command.label_ids, snapshot), num_classes);
  }
  const auto started = std::chrono::steady_clock::now();
  auto model = prepare_trained(snapshot, std::move(learned), classes, num_classes,
                               session.executor(), session.job());
  if (num_classes > 0) {
    model = model->with_label_use(kDefaultLabelWeight, kDefaultPlainShare, kDefaultCentroidShare);
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  engine.with_trained(model).save(command.index, session.job());
  const gnn::TrainedParts& parts = model->parts();
  session.report({{"index", command.index.string()},
                  {"model", command.model.string()},
                  {"metric", parts.view},
                  {"rank", parts.projection.out_dim()},
                  {"gnn_layers", parts.gnn ? parts.gnn->shape().layers : 0},
                  {"classes", num_classes},
                  {"memory_bytes", model->memory_bytes()},
                  {"prepare_seconds", taken.count()}},
                 [&](std::ostream& out) {
                   out << "A metric of " << parts.projection.out_dim() << " directions";
                   if (parts.gnn) out << " and " << parts.gnn->shape().layers << " GNN layers";
                   if (num_classes > 0) out << ", with " << num_classes << " classes";
                   out << ", prepared in " << duration(taken.count()) << "; takes "
                       << bytes(model->memory_bytes()) << "; search with --refine trained.\n"
                       << "It was not judged: halo eval compares it with plain search.\n";
                 });
}

}  // namespace halo::cli
