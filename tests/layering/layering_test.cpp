// Reads the whole tree and fails where a file breaks a rule of include_rules.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "layering/include_rules.h"

namespace halo::layering {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Sources whose logic is tested in the file of a sibling.
const std::map<std::string, std::string>& covered_elsewhere() {
  static const std::map<std::string, std::string> kCovered = {
      {"attention/detail/block_sparse.cpp", "tests/attention/head_attention_test.cpp"},
      {"attention/gathered_attention.cpp", "tests/attention/head_attention_test.cpp"},
      {"attention/detail/dense_attention.cpp", "tests/attention/standard_attention_test.cpp"},
      {"attention/saved_forward.cpp", "tests/attention/local_global_backward_test.cpp"},
      {"attention/detail/row_blocks.cpp", "tests/attention/head_attention_test.cpp"},
      {"core/matrix.cpp", "tests/core/matrix_view_test.cpp"},
      {"core/kernels/attention_reference.cpp", "tests/core/kernels/flash_attention_test.cpp"},
      {"core/kernels/code_distance_reference.cpp", "tests/core/kernels/code_distance_test.cpp"},
      {"core/kernels/distance_reference.cpp", "tests/core/kernels/distance_test.cpp"},
      {"core/kernels/flash_attention_backward.cpp", "tests/core/kernels/flash_attention_test.cpp"},
      {"core/kernels/gemm_half.cpp", "tests/core/kernels/gemm_test.cpp"},
      {"core/kernels/gemm_tiles.cpp", "tests/core/kernels/gemm_test.cpp"},
      {"core/kernels/gemm_reference.cpp", "tests/core/kernels/gemm_test.cpp"},
      {"core/kernels/graph_attention_backward.cpp", "tests/core/kernels/graph_attention_test.cpp"},
      {"core/kernels/linear_attention_reference.cpp",
       "tests/core/kernels/linear_attention_test.cpp"},
      {"core/kernels/softmax_reference.cpp", "tests/core/kernels/softmax_test.cpp"},
      {"index/detail/choose_codes.cpp", "tests/index/coded_search_test.cpp"},
      {"index/detail/idle_thread.cpp", "tests/index/live_index_test.cpp"},
      {"index/detail/live_seal.cpp", "tests/index/live_index_test.cpp"},
      {"gnn/gnn_query.cpp", "tests/gnn/train/train_gnn_test.cpp"},
      {"gnn/train/example_groups.cpp", "tests/gnn/train/train_metric_test.cpp"},
      {"gnn/train/training_loop.cpp", "tests/gnn/train/train_gnn_test.cpp"},
      {"gnn/train/whitening.cpp", "tests/gnn/train/train_metric_test.cpp"},
      {"index/detail/metric_distance.cpp", "tests/index/exact_search_test.cpp"},
      {"index/detail/query_walk.cpp", "tests/index/search_cursor_test.cpp"},
      {"index/detail/row_scorer.cpp", "tests/index/coded_search_test.cpp"},
      {"index/detail/scan.cpp", "tests/index/exact_search_test.cpp"},
      {"integration/capi/capi.cpp", "tests/integration/capi/capi_test.c"},
      {"integration/cli/inspect_node.cpp", "tests/integration/cli/inspect_command_test.cpp"},
      {"integration/cli/main.cpp", "tests/integration/cli/build_command_test.cpp"},
      {"integration/cli/model_text.cpp", "tests/integration/cli/refine_command_test.cpp"},
      {"integration/cli/serve_command.cpp", "tests/integration/service/serve_process_test.cpp"},
      {"integration/cli/register_commands.cpp", "tests/integration/cli/app_test.cpp"},
      {"integration/io/bin.cpp", "tests/integration/io/vecs_test.cpp"},
      {"integration/io/elements.cpp", "tests/integration/io/npy_test.cpp"},
      {"integration/io/file.cpp", "tests/integration/io/bundle_test.cpp"},
      {"integration/io/gzip.cpp", "tests/integration/io/idx_test.cpp"},
      {"integration/io/hdf5.cpp", "tests/integration/io/vectors_test.cpp"},
      {"integration/io/posix_file_system.cpp", "tests/integration/io/atomic_write_test.cpp"},
      {"integration/io/model_tensors.cpp", "tests/integration/io/safetensors_test.cpp"},
      {"integration/io/trained_io.cpp", "tests/integration/train_test.cpp"},
      {"integration/node_attention.cpp", "tests/integration/live_engine_test.cpp"},
      {"integration/cli/follow_change.cpp", "tests/integration/cli/add_command_test.cpp"},
      {"integration/cli/import_command.cpp", "tests/integration/cli/train_command_test.cpp"},
      {"integration/cli/label_files.cpp", "tests/integration/cli/train_command_test.cpp"},
      {"integration/learned_space.cpp", "tests/integration/train_test.cpp"},
      {"integration/train_checkpoint.cpp", "tests/integration/train_test.cpp"},
      {"integration/train_judge.cpp", "tests/integration/train_test.cpp"},
      {"integration/train_metrics.cpp", "tests/integration/train_test.cpp"},
      {"integration/train_data.cpp", "tests/integration/train_test.cpp"},
      {"integration/refine.cpp", "tests/integration/engine_test.cpp"},
  };
  return kCovered;
}

const fs::path& root() {
  static const fs::path kRoot = HALO_SOURCE_DIR;
  return kRoot;
}

/// The files that belong to the tree: git's where this is a checkout, otherwise all but outputs.
std::set<std::string> tracked_files() {
  std::set<std::string> files;
  const std::string command = "git -C '" + root().string() + "' ls-files -z 2>/dev/null";
  if (FILE* pipe = popen(command.c_str(), "r")) {  // NOLINT: the path is the build's own
    std::string path;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
      if (c != 0) {
        path.push_back(static_cast<char>(c));
      } else {
        if (fs::exists(root() / path))
          files.insert(path);  // not those deleted but not yet committed
        path.clear();
      }
    }
    pclose(pipe);
  }
  if (!files.empty()) return files;
  for (auto entry = fs::recursive_directory_iterator(root()); entry != fs::end(entry); ++entry) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory() && (name == "build" || name == "demo-output" || name == ".git")) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file()) {
      files.insert(fs::relative(entry->path(), root()).generic_string());
    }
  }
  return files;
}

std::string read(const std::string& path) {
  std::ifstream file(root() / path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool is_source(const std::string& path) {
  const std::string ending = fs::path(path).extension().string();
  return ending == ".h" || ending == ".cpp";
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

TEST(LayeringTest, EveryIncludeOfTheTreeFollowsTheRules) {
  const std::set<std::string> tree = tracked_files();
  std::size_t sources = 0;
  for (const std::string& path : tree) {
    // The outside project of the package test includes halo as its users do.
    if (!is_source(path) || path.rfind("tests/integration/package/", 0) == 0) continue;
    ++sources;
    const auto violations = include_violations(path, read(path), tree);
    EXPECT_TRUE(violations.empty()) << joined(violations);
  }
  EXPECT_GT(sources, 20U) << "the tree was not read";
}

TEST(LayeringTest, EverySourceOfARoomHasItsTest) {
  const auto violations = test_violations(tracked_files(), covered_elsewhere());
  EXPECT_TRUE(violations.empty()) << joined(violations);
}

TEST(LayeringTest, NoTrackedFileIsLargerThanAMegabyte) {
  for (const std::string& path : tracked_files()) {
    EXPECT_LE(fs::file_size(root() / path), 1U << 20) << path;
  }
}

// The rules themselves, on made-up files.

const std::set<std::string>& small_tree() {
  static const std::set<std::string> kTree = {"core/a.h",         "core/kernels/fast.h",
                                              "index/b.h",        "index/detail/graph.h",
                                              "attention/c.h",    "gnn/d.h",
                                              "integration/e.h",  "integration/cli/f.h",
                                              "tests/support/t.h"};
  return kTree;
}

std::vector<std::string> check(const std::string& path, const std::string& text) {
  return include_violations(path, text, small_tree());
}

TEST(IncludeRulesTest, ParsesEveryForm) {
  const auto includes =
      parse_includes("#include <a>\n  #  include \"b/c.h\"  // why\nint x;\n#include<d>");
  ASSERT_EQ(includes.size(), 3U);
  EXPECT_EQ(includes[0].target, "a");
  EXPECT_FALSE(includes[0].quoted);
  EXPECT_EQ(includes[1].target, "b/c.h");
  EXPECT_TRUE(includes[1].quoted);
  EXPECT_EQ(includes[1].line, 2U);
  EXPECT_EQ(includes[2].target, "d");
}

TEST(IncludeRulesTest, RoomsLookDownOnly) {
  EXPECT_THAT(check("gnn/x.cpp", "#include \"halo/attention/c.h\"\n#include \"halo/core/a.h\"\n"),
              IsEmpty());
  EXPECT_THAT(
      check("integration/x.cpp", "#include \"halo/gnn/d.h\"\n#include \"halo/index/b.h\"\n"),
      IsEmpty());
  for (const auto& [path, target] : {std::pair{"index/x.h", "attention/c.h"},
                                     {"attention/x.h", "index/b.h"},
                                     {"core/x.h", "index/b.h"},
                                     {"gnn/x.cpp", "index/b.h"},
                                     {"gnn/x.cpp", "integration/e.h"}}) {
    EXPECT_THAT(check(path, std::string("#include \"halo/") + target + "\"\n"),
                ElementsAre(HasSubstr("may not include")));
  }
}

TEST(IncludeRulesTest, TheUmbrellaIsForUsers) {
  const std::string text = "#include \"halo/halo.h\"\n";
  EXPECT_THAT(check("examples/x.cpp", text), IsEmpty());
  EXPECT_THAT(check("tests/integration/x_test.cpp", text), IsEmpty());
  EXPECT_THAT(check("integration/x.cpp", text), ElementsAre(HasSubstr("not halo/halo.h")));
}

TEST(IncludeRulesTest, DetailIsPrivateToItsRoomAndItsTests) {
  const std::string text = "#include \"halo/index/detail/graph.h\"\n";
  EXPECT_THAT(check("index/x.cpp", text), IsEmpty());
  EXPECT_THAT(check("tests/index/x_test.cpp", text), IsEmpty());
  EXPECT_THAT(check("bench/index/x_bench.cpp", text), IsEmpty());
  EXPECT_THAT(check("integration/x.cpp", text), ElementsAre(HasSubstr("private to index")));
  EXPECT_THAT(check("tests/integration/x_test.cpp", text),
              ElementsAre(HasSubstr("private to index")));
}

TEST(IncludeRulesTest, InstalledHeadersIncludeInstalledHeaders) {
  EXPECT_THAT(check("index/x.h", "#include \"halo/index/detail/graph.h\"\n"),
              ElementsAre(HasSubstr("not installed")));
  EXPECT_THAT(check("index/x.h", "#include \"halo/core/kernels/fast.h\"\n"),
              ElementsAre(HasSubstr("not installed")));
  EXPECT_THAT(check("integration/x.h", "#include \"halo/integration/cli/f.h\"\n"),
              ElementsAre(HasSubstr("not installed")));
  EXPECT_THAT(check("index/x.cpp", "#include \"halo/core/kernels/fast.h\"\n"), IsEmpty());
  EXPECT_THAT(check("index/detail/x.h", "#include \"halo/core/kernels/fast.h\"\n"), IsEmpty());
}

TEST(IncludeRulesTest, LibrariesStayInTheirPlaces) {
  EXPECT_THAT(check("index/detail/x.h", "#include <hnswlib/hnswlib.h>\n"), IsEmpty());
  EXPECT_THAT(check("index/x.cpp", "#include <hnswlib/hnswlib.h>\n"),
              ElementsAre(HasSubstr("hnswlib")));
  EXPECT_THAT(check("core/x.cpp", "#include <tbb/task_arena.h>\n"), IsEmpty());
  EXPECT_THAT(check("core/x.h", "#include <oneapi/tbb.h>\n"), ElementsAre(HasSubstr("TBB")));
  EXPECT_THAT(check("gnn/x.cpp", "#include <Eigen/Core>\n#include <hwy/highway.h>\n"), IsEmpty());
  EXPECT_THAT(check("core/kernels/x.h", "#include <hwy/highway.h>\n"), IsEmpty());
  EXPECT_THAT(check("gnn/x.h", "#include <Eigen/Core>\n"), ElementsAre(HasSubstr("Eigen")));
  EXPECT_THAT(check("gnn/x.h", "#include <hwy/highway.h>\n"), ElementsAre(HasSubstr("Highway")));
}

TEST(IncludeRulesTest, OneSpelling) {
  EXPECT_THAT(check("index/x.cpp", "#include \"b.h\"\n"), ElementsAre(HasSubstr("not spelled")));
  EXPECT_THAT(check("index/x.cpp", "#include \"index/b.h\"\n"),
              ElementsAre(HasSubstr("not spelled")));
  EXPECT_THAT(check("index/x.cpp", "#include <halo/index/b.h>\n"),
              ElementsAre(HasSubstr("quote it")));
  EXPECT_THAT(check("index/x.cpp", "#include \"halo/index/gone.h\"\n"),
              ElementsAre(HasSubstr("no file")));
  EXPECT_THAT(check("tests/index/x_test.cpp", "#include \"support/t.h\"\n"), IsEmpty());
  EXPECT_THAT(check("tests/support/x.cpp", "#include \"t.h\"\n"), IsEmpty());
  EXPECT_THAT(check("index/x.cpp", "#include \"support/t.h\"\n"),
              ElementsAre(HasSubstr("not spelled")));
}

TEST(IncludeRulesTest, SourcesNeedTests) {
  const std::set<std::string> tree = {"core/a.cpp", "core/k/b.cpp",          "core/c.cpp",
                                      "core/d.h",   "tests/core/a_test.cpp", "examples/e.cpp"};
  EXPECT_THAT(test_violations(tree, {{"core/c.cpp", "tests/core/a_test.cpp"}}),
              ElementsAre("core/k/b.cpp has no tests/core/k/b_test.cpp"));
  EXPECT_THAT(test_violations({"core/a.cpp", "tests/core/a_test.cpp"},
                              {{"core/z.cpp", "tests/core/z_test.cpp"}}),
              ElementsAre(HasSubstr("core/z.cpp does not exist"), HasSubstr("does not exist")));
}

}  // namespace
}  // namespace halo::layering
