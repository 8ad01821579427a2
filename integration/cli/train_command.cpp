#include <algorithm>
#include <chrono>
#include <utility>

#include "halo/core/random.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/label_files.h"
#include "halo/integration/cli/model_text.h"
#include "halo/integration/cli/outputs.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/model_tensors.h"
#include "halo/integration/io/vectors.h"
#include "halo/integration/train.h"

namespace halo::cli {
namespace {

// Keeps a share of the known labels, drawn by the seed in the order of the ids, so that the same
// ones are kept however the index was built.
void keep_share(double share, std::uint64_t seed, const GraphSnapshot& snapshot,
                std::vector<std::int64_t>& labels) {
  if (share >= 1.0) return;
  std::vector<Node> known;
  for (Node node = 0; node < labels.size(); ++node) {
    if (labels[node] >= 0) known.push_back(node);
  }
  std::sort(known.begin(), known.end(),
            [&](Node a, Node b) { return snapshot.id(a) < snapshot.id(b); });
  Random random(seed, 0x1abe1);
  const auto kept = static_cast<std::size_t>(share * static_cast<double>(known.size()));
  for (std::size_t i = 0; i < known.size(); ++i) {
    std::swap(known[i], known[i + random.below(known.size() - i)]);
    if (i >= kept) labels[known[i]] = -1;
  }
}

// Judgements of vectors that the index does not hold (skipped when it was built, or removed since)
// cannot be learned from.
std::size_t leave_out_absent(const GraphSnapshot& snapshot,
                             std::vector<io::Judgement>& judgements) {
  const std::size_t left_out = std::erase_if(judgements, [&](const io::Judgement& judgement) {
    return !snapshot.find(judgement.id).has_value();
  });
  if (judgements.empty()) {
    throw Error(ErrorCode::kUnknownId, "the index holds none of the judged ids");
  }
  return left_out;
}

nlohmann::ordered_json facts_of(const TrainCandidate& candidate) {
  nlohmann::ordered_json facts = {{"name", candidate.name}};
  for (const Measure measure : kMeasures) {
    facts[std::string(measure_name(measure))] = candidate.quality.mean(measure);
  }
  if (candidate.gain) {
    facts["gain"] = {{"mean", candidate.gain->mean},
                     {"low", candidate.gain->low},
                     {"high", candidate.gain->high}};
  }
  return facts;
}

void report(const TrainCommand& command, const TrainReport& trained, std::size_t left_out,
            double seconds, Session& session) {
  nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"examples", trained.examples},
      {"classes", trained.classes},
      {"judgements_left_out", left_out},
      {"validation_queries", trained.table.front().quality.queries.size()},
      {"validation", nlohmann::ordered_json::array()},
      {"metric", trained.view},
      {"gnn", trained.gnn},
      {"label_window", trained.spread.window},
      {"accepted", trained.accepted},
      {"reason", trained.reason},
      {"train_seconds", seconds},
  };
  for (const TrainCandidate& candidate : trained.table) {
    facts["validation"].push_back(facts_of(candidate));
  }
  if (trained.model) {
    facts["label_weight"] = trained.model->label_weight();
    facts["plain_share"] = trained.model->plain_share();
    facts["centroid_share"] = trained.model->centroid_share();
    facts["memory_bytes"] = trained.model->memory_bytes();
  }
  if (trained.fusion) facts["fusion"] = fusion_facts(*trained.fusion);
  session.report(facts, [&](std::ostream& out) {
    out << with_commas(trained.examples) << " examples, judged by "
        << with_commas(trained.table.front().quality.queries.size()) << " held-out queries\n";
    if (left_out > 0) {
      out << with_commas(left_out) << " judgements are of ids that the index does not hold\n";
    }
    out << '\n';
    std::vector<std::string> header = {"validation"};
    for (const Measure measure : kMeasures) header.emplace_back(measure_name(measure));
    header.insert(header.end(), {"mAP gain", "95% from", "95% to"});
    Table table(header);
    for (const TrainCandidate& candidate : trained.table) {
      std::vector<std::string> row = {candidate.name};
      for (const Measure measure : kMeasures) {
        row.push_back(percent(candidate.quality.mean(measure)));
      }
      if (candidate.gain) {
        for (const double value :
             {candidate.gain->mean, candidate.gain->low, candidate.gain->high}) {
          row.push_back(percent(value));
        }
      }
      row.resize(header.size());
      table.add(row);
    }
    table.print(out);
    out << '\n'
        << (trained.accepted ? "Accepted: " : "Refused: ") << trained.reason << ".\n"
        << "Training took " << duration(seconds) << " on " << session.executor().threads()
        << " threads.\n";
    if (trained.fusion) {
      out << "Weights of the label-free terms: " << fusion_text(*trained.fusion)
          << "; search with --refine trained.\n";
    }
    if (trained.model) {
      out << "The model, on the metric " << trained.view << ", takes "
          << bytes(trained.model->memory_bytes()) << "; search with --refine trained.\n";
    }
  });
}

}  // namespace

void run_train(const TrainCommand& command, Session& session) {
  if (!command.export_model.empty()) {
    check_output(command.export_model,
                 {command.index, command.labels, command.queries, command.qrels});
  }
  if (!command.checkpoint.empty()) {
    check_output(command.checkpoint, {command.index, command.labels, command.queries, command.qrels,
                                      command.export_model});
  }
  const Engine engine = Engine::load(command.index);
  TrainingData data;
  Matrix queries;
  std::size_t left_out = 0;
  if (!command.labels.empty()) {
    data.labels = labels_of_nodes(command.labels, command.label_ids, *engine.snapshot());
    keep_share(command.label_share, session.common().seed.value_or(1), *engine.snapshot(),
               data.labels);
  } else {
    queries = io::load_vectors(command.queries, io::VectorRole::kQuery);
    data.queries = queries;
    data.judgements = io::load_qrels(command.qrels, queries.rows());
    left_out = leave_out_absent(*engine.snapshot(), data.judgements);
  }
  TrainOptions options;
  options.validation_fraction = command.validation_fraction;
  options.unseen_classes = command.unseen_classes;
  options.epochs = command.epochs;
  options.candidates = command.candidates;
  options.gnn = command.gnn;
  options.only_fusion = command.only_fusion;
  options.checkpoint = command.checkpoint;
  options.resume = command.resume;
  options.metric.seed = session.common().seed.value_or(options.metric.seed);
  const auto started = std::chrono::steady_clock::now();
  const TrainReport trained = train(engine, data, options, session.executor(), session.job());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  session.job().check();
  if (trained.accepted) {
    const Engine learned =
        trained.fusion ? engine.with_fusion(trained.fusion) : engine.with_trained(trained.model);
    learned.save(command.index);
    if (!command.export_model.empty()) {
      if (trained.fusion) {
        io::export_fusion(command.export_model, *trained.fusion);
      } else {
        io::export_model(command.export_model, *trained.model);
      }
    }
  }
  report(command, trained, left_out, taken.count(), session);
  if (!trained.accepted) {
    throw Error(ErrorCode::kNoGain, "training was refused and " + command.index.string() +
                                        " left as it was: " + trained.reason);
  }
}

}  // namespace halo::cli
