#include "halo/integration/cli/register_commands.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "halo/integration/cli/commands.h"

namespace halo::cli {
namespace {

void add_common_options(CLI::App& command, CommonOptions& common) {
  command.add_option("--threads", common.threads, "Threads to run on; 0: every core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--seed", common.seed, "Seed of everything random")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--json", common.json, "Print the result as one JSON object");
  command.add_flag("--quiet", common.quiet, "Show no progress");
}

void register_build(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<BuildCommand>();
  CLI::App* sub = app.add_subcommand("build", "Build an index over the vectors of a file");
  sub->add_option("--vectors", command->vectors,
                  "Vectors: .npy .fvecs .bvecs .ivecs .fbin .u8bin .i8bin .hdf5 or IDX (.gz)")
      ->required();
  sub->add_option("--ids", command->ids, "Integers (.npy), one a vector; row numbers otherwise");
  sub->add_option("--metric", command->metric, "What near means")
      ->required()
      ->check(CLI::IsMember({"l2", "ip", "cosine"}));
  sub->add_option("--M", command->M,
                  "Links a vector gets per layer: more cost memory and time, and help recall")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--ef-construction", command->ef_construction,
                  "Candidates looked at while linking: more cost build time and buy graph quality")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--codes", command->codes,
                  "What links are found and searches walk on: float32, bfloat16 or 8-bit codes of "
                  "the vectors; auto takes the smallest that keep recall")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8"}))
      ->capture_default_str();
  sub->add_option("--stored", command->stored,
                  "What vectors are kept as, where exact distances come from: bf16 and f16 round "
                  "them; int8 is for bytes under l2; auto keeps bytes as bytes and all else as f32")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8"}))
      ->capture_default_str();
  sub->add_flag("--dry-run", command->dry_run, "Only say how much memory building would take");
  sub->add_option("--memory-limit", command->memory_limit,
                  "The most memory that the vectors read and the index may take, such as 500M or "
                  "4G; refused before it is taken where it would be more")
      ->transform(CLI::AsSizeValue(false))
      // Put before it: it takes -1 for a very large number.
      ->transform(CLI::Validator(
          [](const std::string& size) {
            return size.starts_with('-') ? "a size is not negative" : std::string();
          },
          ""));
  sub->add_flag("--deterministic", command->deterministic,
                "The same file for the same input and seed at any number of threads; slower");
  sub->add_option("--zero-vectors", command->zero_vectors,
                  "Under cosine, vectors without length: refuse the file, skip them, or auto: skip "
                  "up to one in 500")
      ->check(CLI::IsMember({"refuse", "skip", "auto"}))
      ->capture_default_str();
  sub->add_option("--out", command->out, "The index file to write")->required();
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_build(*command, session); };
  });
}

void register_add(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<AddCommand>();
  CLI::App* sub =
      app.add_subcommand("add", "Add the vectors of a file to an index; its refinement follows");
  sub->add_option("--index", command->index, "The index file")->required();
  sub->add_option("--vectors", command->vectors, "Vectors, in any form halo build reads")
      ->required();
  sub->add_option("--ids", command->ids,
                  "Integers (.npy), one a vector; the numbers after the greatest id otherwise");
  sub->add_flag("--deterministic", command->deterministic,
                "The same file for the same input at any number of threads; slower");
  sub->add_option("--zero-vectors", command->zero_vectors,
                  "Under cosine, vectors without length: refuse the file, skip them, or auto: skip "
                  "up to one in 500")
      ->check(CLI::IsMember({"refuse", "skip", "auto"}))
      ->capture_default_str();
  sub->add_flag("--refine-later", command->refine_later,
                "Leave the refinement of what changed to halo refine --changed");
  add_common_options(*sub, common);
  sub->callback(
      [command, &chosen] { chosen = [command](Session& session) { run_add(*command, session); }; });
}

void register_remove(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<RemoveCommand>();
  CLI::App* sub =
      app.add_subcommand("remove", "Remove vectors from an index; its refinement follows");
  sub->add_option("--index", command->index, "The index file")->required();
  sub->add_option("--ids", command->ids, "The ids of the vectors (.npy)")->required();
  sub->add_flag("--deterministic", command->deterministic,
                "The same file for the same input at any number of threads; slower");
  sub->add_flag("--refine-later", command->refine_later,
                "Leave the refinement of what changed to halo refine --changed");
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_remove(*command, session); };
  });
}

void register_search(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<SearchCommand>();
  CLI::App* sub = app.add_subcommand("search", "Find the nearest vectors of every query in a file");
  sub->add_option("--index", command->index, "The index file")->required();
  sub->add_option("--queries", command->queries, "Queries, in any form halo build reads")
      ->required();
  sub->add_option("-k", command->k, "Results a query")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--ef", command->ef,
                  "Candidates kept while walking the graph: more cost time and buy recall")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--refine", command->refine,
                  "auto re-orders candidates with what halo refine prepared, trained finds and "
                  "orders them with what halo train learned")
      ->check(CLI::IsMember({"off", "auto", "trained"}))
      ->capture_default_str();
  sub->add_option("--candidates", command->candidates,
                  "How many of the nearest refinement re-orders; -k may be as large")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--filter", command->filter, "Only these ids (.npy) may be results");
  sub->add_option(
      "--out-ids", command->out_ids,
      "Write ids here: .npy, int64, one row a query, best first, -1 where none was found");
  sub->add_option("--out-scores", command->out_scores,
                  "Write distances, or fused scores when refining, here: .npy, float32");
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_search(*command, session); };
  });
}

void register_refine(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<RefineCommand>();
  CLI::App* sub = app.add_subcommand("refine", "Prepare label-free refinement in an index");
  sub->add_option("--index", command->index, "The index file; it gets the model")->required();
  sub->add_option("--queries", command->queries,
                  "Sample queries, 50 or more, that tell how far batches of fewer may be refined");
  sub->add_flag("--changed", command->changed,
                "Only what halo add and remove left to it, by the heads there are")
      ->excludes("--queries");
  sub->add_option("--window-entries", command->window_entries,
                  "How many of a window's 32 entries are kept on average, as a learned model and "
                  "their content say: fewer take less time, all of them by default")
      ->check(CLI::Range(1, 32))
      ->excludes("--changed");
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_refine(*command, session); };
  });
}

void register_train(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<TrainCommand>();
  CLI::App* sub = app.add_subcommand(
      "train", "Learn refinement from labels or judged queries; kept only where it helps");
  sub->add_option("--index", command->index, "The index file; it gets the model")->required();
  CLI::Option* labels =
      sub->add_option("--labels", command->labels,
                      "Labels of the vectors (integers): same belongs together; negative: unknown");
  sub->add_option("--label-ids", command->label_ids,
                  "The ids --labels belong to; the other vectors have unknown labels")
      ->needs(labels);
  CLI::Option* queries = sub->add_option("--queries", command->queries,
                                         "Queries, in any form halo build reads, with --qrels");
  CLI::Option* qrels = sub->add_option("--qrels", command->qrels,
                                       "Judgements: TREC lines of query row, 0, id, grade");
  queries->needs(qrels)->excludes(labels);
  qrels->needs(queries);
  sub->add_option("--validation-fraction", command->validation_fraction,
                  "Share of the labels or judged queries that is held out to judge by")
      ->check(CLI::Range(0.01, 0.5))
      ->capture_default_str();
  sub->add_flag("--unseen-classes", command->unseen_classes,
                "Hold out whole classes: the model must help those it was not shown")
      ->needs(labels);
  sub->add_option("--epochs", command->epochs,
                  "Passes over the examples; 0: 250 steps of 256 examples")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--candidates", command->candidates, "Candidates refined while validating")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sub->add_option("--label-share", command->label_share,
                  "Learn from this share of the labels, drawn by --seed")
      ->check(CLI::Range(0.0, 1.0))
      ->needs(labels)
      ->capture_default_str();
  sub->add_flag("--gnn", command->gnn,
                "Also train the full GNN over the metric, end to end; kept where it is better");
  sub->add_flag("--only-fusion", command->only_fusion,
                "Learn only how much each term of label-free refinement counts: takes a second")
      ->needs(qrels);
  CLI::Option* checkpoint =
      sub->add_option("--checkpoint", command->checkpoint,
                      "Keep the state of training in this file (.safetensors) while it runs");
  sub->add_flag("--resume", command->resume, "Go on from --checkpoint, where that exists")
      ->needs(checkpoint);
  sub->add_option("--export-model", command->export_model, "Write the model as .safetensors too");
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    if (command->labels.empty() && command->qrels.empty()) {
      throw CLI::RequiredError("--labels, or --queries with --qrels");
    }
    chosen = [command](Session& session) { run_train(*command, session); };
  });
}

void register_import_model(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<ImportModelCommand>();
  CLI::App* sub =
      app.add_subcommand("import-model", "Make the index's trained model from a .safetensors file");
  sub->add_option("--index", command->index, "The index file; it gets the model")->required();
  sub->add_option("--model", command->model,
                  "A metric, with or without GNN layers: as train --export-model writes, or made "
                  "elsewhere (docs/training.md)")
      ->required();
  CLI::Option* labels = sub->add_option("--labels", command->labels,
                                        "Labels of the vectors, whose classes searches then use");
  sub->add_option("--label-ids", command->label_ids,
                  "The ids --labels belong to; the other vectors have unknown labels")
      ->needs(labels);
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_import_model(*command, session); };
  });
}

void register_eval(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<EvalCommand>();
  CLI::App* sub = app.add_subcommand("eval",
                                     "Judge plain and refined search side by side, by labels, "
                                     "judgements or true neighbours");
  sub->add_option("--index", command->index, "The index file")->required();
  sub->add_option("--queries", command->queries, "Queries, in any form halo build reads")
      ->required();
  CLI::Option* labels = sub->add_option("--labels", command->labels,
                                        "Labels of the vectors (integers): relevant = same");
  CLI::Option* query_labels =
      sub->add_option("--query-labels", command->query_labels, "Labels of the queries");
  labels->needs(query_labels);
  query_labels->needs(labels);
  sub->add_option("--label-ids", command->label_ids,
                  "The ids --labels belong to, where the index was built with --ids")
      ->needs(labels);
  sub->add_option("--qrels", command->qrels, "Judgements: TREC lines of query row, 0, id, grade")
      ->excludes(labels);
  CLI::Option* ground_truth = sub->add_option("--ground-truth", command->ground_truth,
                                              "True neighbours: a row of ids a query");
  sub->add_flag("--exact", command->exact,
                "Find the true neighbours by exhaustive search (slow on large sets)")
      ->excludes(ground_truth);
  sub->add_option("-k", command->k, "Recall is that of the first k results")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--ef", command->ef, "Candidates kept while walking the graph")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--candidates", command->candidates, "How many of the nearest are refined")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--limit", command->limit, "Only the first so many queries; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    if (command->labels.empty() && command->qrels.empty() && command->ground_truth.empty() &&
        !command->exact) {
      throw CLI::RequiredError("--labels, --qrels, --ground-truth or --exact");
    }
    chosen = [command](Session& session) { run_eval(*command, session); };
  });
}

void register_inspect(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<InspectCommand>();
  CLI::App* sub = app.add_subcommand("inspect", "Show what an index, a layer or a node holds");
  sub->add_option("--index", command->index, "The index file")->required();
  sub->add_option("--layer", command->layer, "One layer: 0 holds every vector")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--node", command->node,
                  "The vector of this id: its neighbours in the layer, and whom it attends to");
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_inspect(*command, session); };
  });
}

void register_verify(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<VerifyCommand>();
  CLI::App* sub =
      app.add_subcommand("verify", "Check every checksum and every invariant of an index");
  sub->add_option("--index", command->index, "The index file")->required();
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_verify(*command, session); };
  });
}

void register_serve(CLI::App& app, CommonOptions& common, Command& chosen) {
  auto command = std::make_shared<ServeCommand>();
  CLI::App* sub = app.add_subcommand("serve", "Serve collections over HTTP, see /openapi.json");
  sub->add_option("--data", command->data, "The folder that holds the collections")
      ->capture_default_str();
  sub->add_option("--index", command->index,
                  "An index file to make a collection of, unless there is one of its name");
  sub->add_option("--name", command->name, "That collection's name; otherwise the file's");
  sub->add_option("--host", command->host,
                  "The address to listen on; all but 127.0.0.1 need tokens")
      ->capture_default_str();
  sub->add_option("--port", command->port, "The port to listen on; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  sub->add_option("--read-token-file", command->read_token_file,
                  "A file with the token that searches and reads (or HALO_READ_TOKEN)");
  sub->add_option("--admin-token-file", command->admin_token_file,
                  "A file with the token that may do everything (or HALO_ADMIN_TOKEN)");
  sub->add_option("--queue", command->queue,
                  "Requests that may wait for a thread; more are answered 429")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  add_common_options(*sub, common);
  sub->callback([command, &chosen] {
    chosen = [command](Session& session) { run_serve(*command, session); };
  });
}

}  // namespace

void register_commands(CLI::App& app, CommonOptions& common, Command& chosen) {
  register_build(app, common, chosen);
  register_add(app, common, chosen);
  register_remove(app, common, chosen);
  register_search(app, common, chosen);
  register_refine(app, common, chosen);
  register_train(app, common, chosen);
  register_import_model(app, common, chosen);
  register_eval(app, common, chosen);
  register_inspect(app, common, chosen);
  register_verify(app, common, chosen);
  register_serve(app, common, chosen);
}

}  // namespace halo::cli
