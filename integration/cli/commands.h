// The commands of `halo`: the options of each, and what it does with them.
//
// Every run_* throws halo::Error and then has changed no file. Each lives in <name>_command.cpp;
// register_commands.cpp fills them in from the command line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "halo/index/graph_snapshot.h"
#include "halo/integration/cli/session.h"

namespace halo::cli {

struct BuildCommand {
  std::filesystem::path vectors;
  std::filesystem::path ids;  ///< empty: row numbers
  std::filesystem::path out;
  std::string metric;
  std::string zero_vectors = "auto";  ///< under cosine: refuse, skip or auto (zero_vectors.h)
  std::size_t M = 16;
  std::size_t ef_construction = 200;
  std::string codes = "auto";   ///< what links are found and searches walk on
  std::string stored = "auto";  ///< what vectors are kept as
  bool deterministic = false;
  bool dry_run = false;            ///< only say how much memory it would take
  std::uint64_t memory_limit = 0;  ///< bytes for the vectors read and the index built; 0: no limit
};
void run_build(const BuildCommand& command, Session& session);

struct AddCommand {
  std::filesystem::path index;
  std::filesystem::path vectors;
  std::filesystem::path ids;  ///< empty: the numbers after the greatest id
  std::string zero_vectors = "auto";
  bool deterministic = false;
  bool refine_later = false;  ///< leave the neighbourhood of what changed to halo refine --changed
};
void run_add(const AddCommand& command, Session& session);

struct RemoveCommand {
  std::filesystem::path index;
  std::filesystem::path ids;
  bool deterministic = false;
  bool refine_later = false;  ///< as AddCommand's
};
void run_remove(const RemoveCommand& command, Session& session);

struct SearchCommand {
  std::filesystem::path index;
  std::filesystem::path queries;
  std::filesystem::path filter;      ///< empty: every vector may be a result
  std::filesystem::path out_ids;     ///< empty: not written
  std::filesystem::path out_scores;  ///< empty: not written
  std::string refine = "off";
  std::size_t k = 10;
  std::size_t ef = 64;
  std::size_t candidates = 400;
};
void run_search(const SearchCommand& command, Session& session);

struct RefineCommand {
  std::filesystem::path index;
  std::filesystem::path queries;  ///< empty: the harm gate is not calibrated
  bool changed = false;  ///< only what additions and removals touched, by the heads there are
  std::size_t window_entries = 0;  ///< kept of a window on average; 0: all
};
void run_refine(const RefineCommand& command, Session& session);

struct TrainCommand {
  std::filesystem::path index;
  std::filesystem::path labels;        ///< labels, or
  std::filesystem::path queries;       ///< queries
  std::filesystem::path qrels;         ///< with judgements
  std::filesystem::path label_ids;     ///< empty: label i belongs to id i
  std::filesystem::path export_model;  ///< empty: not written
  double validation_fraction = 0.2;
  std::size_t epochs = 0;  ///< 0: a fixed number of steps
  std::size_t candidates = 400;
  bool unseen_classes = false;
  bool gnn = false;
  bool only_fusion = false;
  double label_share = 1.0;          ///< of the labels, drawn by the seed
  std::filesystem::path checkpoint;  ///< empty: none
  bool resume = false;
};
/// Throws kNoGain, with the index unchanged, where validation refuses the model; the table is
/// printed before.
void run_train(const TrainCommand& command, Session& session);

struct ImportModelCommand {
  std::filesystem::path index;
  std::filesystem::path model;      ///< .safetensors, see model_tensors.h
  std::filesystem::path labels;     ///< empty: no classes
  std::filesystem::path label_ids;  ///< empty: label i belongs to id i
};
/// Makes the index's trained model from a file.
void run_import_model(const ImportModelCommand& command, Session& session);

struct EvalCommand {
  std::filesystem::path index;
  std::filesystem::path queries;
  std::filesystem::path ground_truth;
  std::filesystem::path labels;
  std::filesystem::path query_labels;
  std::filesystem::path label_ids;  ///< empty: label i belongs to id i
  std::filesystem::path qrels;
  bool exact = false;  ///< search exhaustively for the ground truth
  std::size_t k = 10;  ///< recall@k
  std::size_t ef = 64;
  std::size_t candidates = 400;
  std::size_t limit = 0;  ///< only the first so many queries; 0: all
};
void run_eval(const EvalCommand& command, Session& session);

struct InspectCommand {
  std::filesystem::path index;
  std::optional<std::size_t> layer;
  std::optional<Id> node;
};
void run_inspect(const InspectCommand& command, Session& session);

struct VerifyCommand {
  std::filesystem::path index;
};
void run_verify(const VerifyCommand& command, Session& session);

struct ServeCommand {
  std::filesystem::path data = "halo-data";  ///< the folder of the collections
  std::filesystem::path index;               ///< empty: nothing is imported
  std::string name;                          ///< of the imported collection; empty: the file's
  std::string host = "127.0.0.1";
  int port = 8080;  ///< 0: any free one
  std::filesystem::path read_token_file, admin_token_file;
  std::size_t queue = 256;
};
/// Serves until the session's stop token asks; then lets requests in progress finish and saves.
void run_serve(const ServeCommand& command, Session& session);

}  // namespace halo::cli
