#include "halo/integration/io/safetensors.h"

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "halo/integration/engine.h"
#include "halo/integration/io/model_tensors.h"
#include "integration/io/memory_file_system.h"
#include "support/test_support.h"

namespace halo::io {
namespace {

using halo::test::expect_error;
using test::MemoryFileSystem;

test::Bytes file_of(std::uint64_t length, const std::string& header, const std::string& data) {
  test::Bytes bytes(8);
  std::memcpy(bytes.data(), &length, 8);
  for (const char c : header + data) bytes.push_back(static_cast<std::byte>(c));
  return bytes;
}
test::Bytes file_of(const std::string& header, const std::string& data) {
  return file_of(header.size(), header, data);
}
TensorFile read(test::Bytes bytes) {
  return read_safetensors("m", MemoryFileSystem("m", std::move(bytes)));
}

TensorFile sample() {
  TensorFile file;
  file.metadata = {{"format", "test"}, {"view", "spectral \"s\""}};
  file.add("weight", halo::test::random_matrix(3, 5, 1).view());
  const std::vector<float> mean = {1.0F, -2.5F, 1e-30F};
  file.add("mean", mean);
  file.add("none", std::span<const float>());
  return file;
}

void expect_same(const TensorFile& a, const TensorFile& b, float factor) {
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const NamedTensor& tensor : a.tensors) {
    const NamedTensor& other = b.at(tensor.name);
    EXPECT_EQ(tensor.shape, other.shape);
    ASSERT_EQ(tensor.values.size(), other.values.size());
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      EXPECT_EQ(factor * tensor.values[i], other.values[i]);
    }
  }
}

TEST(Safetensors, WhatWasWrittenIsReadAgain) {
  const halo::test::TemporaryFolder folder;
  write_safetensors(folder / "m.safetensors", sample());
  expect_same(sample(), read_safetensors(folder / "m.safetensors"), 1.0F);
}

TEST(Safetensors, PyTorchReadsAndWritesIt) {
  const halo::test::TemporaryFolder folder;
  write_safetensors(folder / "from", sample());
  const std::string command = "/usr/bin/python3 '" HALO_SOURCE_DIR
                              "/tests/integration/io/torch_tensors.py' '" +
                              (folder / "from").string() + "' '" + (folder / "to").string() + "'";
  const int status = std::system(command.c_str());  // NOLINT: the path is the build's own
  if (status == -1 || WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127) {
    GTEST_SKIP() << "PyTorch is not installed";
  }
  ASSERT_EQ(status, 0);
  expect_same(sample(), read_safetensors(folder / "to"), 2.0F);
}

TEST(Safetensors, ReadsHalvesAndDoubles) {
  const std::string header = R"({"h":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]},)"
                             R"("d":{"dtype":"F64","shape":[],"data_offsets":[12,20]}})";
  const std::uint16_t halves[] = {0x3c00, 0xc500, 0x0001, 0x7bff, 0x3f80, 0xc040};
  const double number = 0.25;
  std::string data(20, '\0');
  std::memcpy(data.data(), halves, 12);
  std::memcpy(data.data() + 12, &number, 8);
  const TensorFile file = read(file_of(header, data));
  EXPECT_EQ(file.at("h").values, (std::vector<float>{1.0F, -5.0F, 0x1.0p-24F, 65504.0F}));
  EXPECT_EQ(file.at("b").values, (std::vector<float>{1.0F, -3.0F}));
  EXPECT_EQ(file.at("d").values, (std::vector<float>{0.25F}));
}

TEST(Safetensors, RefusesHostileFiles) {
  const auto one = [](const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::string data(8, '\0');
  const auto refuse = [&](ErrorCode code, const std::string& text, test::Bytes bytes) {
    expect_error(code, text, [&] { read(std::move(bytes)); });
  };
  EXPECT_EQ(read(file_of(one("[2]", "[0,8]"), data)).at("a").values.size(), 2U);
  refuse(ErrorCode::kUnsupportedFormat, "not a safetensors", test::Bytes(7));
  refuse(ErrorCode::kCorrupt, "cut off", file_of(1000, "{}", ""));
  refuse(ErrorCode::kCorrupt, "cut off", file_of(~0ULL, "{}", ""));
  refuse(ErrorCode::kCorrupt, "header", file_of("{nonsense", data));
  refuse(ErrorCode::kCorrupt, "not an object", file_of("[]", ""));
  refuse(ErrorCode::kCorrupt, "shape", file_of(one("[3]", "[0,8]"), data));
  refuse(ErrorCode::kCorrupt, "shape", file_of(one("[4294967296,4294967298]", "[0,8]"), data));
  refuse(ErrorCode::kCorrupt, "shape", file_of(one("[9223372036854775809,2]", "[0,8]"), data));
  refuse(ErrorCode::kCorrupt, "cut off", file_of(one("[4]", "[0,16]"), data));
  refuse(ErrorCode::kCorrupt, "begin", file_of(one("[1]", "[4,8]"), data));
  refuse(ErrorCode::kCorrupt, "begin", file_of(one("[0]", "[8,0]"), data));
  refuse(ErrorCode::kCorrupt, "left over", file_of(one("[1]", "[0,4]"), data));
  refuse(ErrorCode::kCorrupt, "count", file_of(one("[-2]", "[0,8]"), data));
  refuse(ErrorCode::kCorrupt, "two offsets", file_of(one("[2]", "[0]"), data));
  refuse(ErrorCode::kCorrupt, "twice",
         file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                 R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                 data));
  refuse(ErrorCode::kUnsupportedFormat, "I64",
         file_of(R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", data));
  refuse(ErrorCode::kCorrupt, "header", file_of(R"({"__metadata__":{"a":1}})", ""));
  // Every cut and every changed byte of a whole file is refused or read, never worse.
  const test::Bytes whole = file_of(one("[2]", "[0,8]"), data);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(read(test::Bytes(whole.begin(), whole.begin() + static_cast<long>(size))), Error);
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    test::Bytes changed = whole;
    changed[at] ^= std::byte{0x11};
    try {
      read(changed);
    } catch (const Error&) {
      continue;
    }
  }
}

TEST(Safetensors, RefusesToWriteWhatDoesNotFit) {
  TensorFile file;
  file.tensors.push_back({"a", {2, 2}, {1.0F}});
  MemoryFileSystem files;
  expect_error(ErrorCode::kInvalidArgument, "shape", [&] { write_safetensors("m", file, files); });
  file.tensors = {{"a", {1}, {1.0F}}, {"a", {1}, {1.0F}}};
  expect_error(ErrorCode::kInvalidArgument, "twice", [&] { write_safetensors("m", file, files); });
}

class ModelTensors : public testing::Test {
 protected:
  static TensorFile model(std::size_t dim) {
    TensorFile file;
    file.metadata = {{"format", "halo.metric.1"}, {"view", "pca"}, {"unit_input", "true"}};
    const std::vector<float> mean(dim, 0.25F), scale = {12.0F};
    file.add("projection.mean", mean);
    file.add("projection.weight", halo::test::random_matrix(4, dim, 1).view());
    file.add("scale", scale);
    return file;
  }
  void expect_refused(ErrorCode code, const std::string& text, const TensorFile& file) {
    write_safetensors(folder_ / "m", file);
    expect_error(code, text, [&] { import_model(folder_ / "m", *cosine_.snapshot()); });
  }
  static Engine engine(Metric metric) {
    BuildOptions options;
    options.metric = metric;
    return Engine::build(halo::test::random_matrix(50, 8, 1), {}, options, Executor(1));
  }
  halo::test::TemporaryFolder folder_;
  Engine cosine_ = engine(Metric::kCosine);
};

TEST_F(ModelTensors, AnExportedModelIsImportedAsItWas) {
  write_safetensors(folder_ / "m", model(8));
  LearnedProjection imported = import_model(folder_ / "m", *cosine_.snapshot());
  EXPECT_EQ(imported.view, "pca");
  EXPECT_EQ(imported.scale, 12.0F);
  const auto trained =
      prepare_trained(*cosine_.snapshot(), std::move(imported), {}, 0, Executor(1));
  export_model(folder_ / "again", *trained);
  const TensorFile before = read_safetensors(folder_ / "m");
  expect_same(before, read_safetensors(folder_ / "again"), 1.0F);
}

TEST_F(ModelTensors, FusionWeightsAreAFileOfTheirOwn) {
  const gnn::Fusion fusion{{"c", "g"}, {0.5F, 0.25F, 0.0F, 1.0F, 0.0F, 0.125F, 0.0F, 1.5F}};
  export_fusion(folder_ / "f", fusion);
  const auto again = import_fusion(folder_ / "f");
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->heads, fusion.heads);
  EXPECT_EQ(again->weights, fusion.weights);
  EXPECT_EQ(again->term_name(3), "structure g");
  EXPECT_EQ(again->term_name(7), "anchor");
  write_safetensors(folder_ / "m", model(8));
  EXPECT_EQ(import_fusion(folder_ / "m"), nullptr);
  TensorFile file = read_safetensors(folder_ / "f");
  file.metadata["heads"] = "c";
  write_safetensors(folder_ / "f", file);
  expect_error(ErrorCode::kCorrupt, "one weight a term", [&] { import_fusion(folder_ / "f"); });
}

// A metric of 8 to 4 dimensions and one GNN layer of 2 heads, made by PyTorch.
TEST_F(ModelTensors, AModelWrittenByPyTorchBecomesOneOfTheIndex) {
  const std::string command = "/usr/bin/python3 '" HALO_SOURCE_DIR
                              "/tests/integration/io/torch_model.py' '" +
                              (folder_ / "m").string() + "'";
  const int status = std::system(command.c_str());  // NOLINT: the path is the build's own
  if (status == -1 || WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127) {
    GTEST_SKIP() << "PyTorch is not installed";
  }
  ASSERT_EQ(status, 0);
  LearnedProjection imported = import_model(folder_ / "m", *cosine_.snapshot());
  EXPECT_EQ(imported.view, "torch");
  ASSERT_NE(imported.gnn, nullptr);
  EXPECT_EQ(imported.gnn->shape().layers, 1U);
  EXPECT_EQ(imported.gnn->shape().heads, 2U);
  EXPECT_EQ(imported.gnn->shape().scale, 12.5F);
  EXPECT_EQ(imported.gnn_window, 6U);
  // What PyTorch says comes out of the first vector, the others being its window.
  const TensorFile file = read_safetensors(folder_ / "m");
  const NamedTensor &rows = file.at("check.x"), &want = file.at("check.y");
  std::vector<float> state(rows.values.begin(), rows.values.begin() + 4);
  Matrix window(rows.shape[0] - 1, 4);
  for (std::size_t i = 0; i < window.rows(); ++i) {
    std::copy_n(rows.values.begin() + static_cast<std::ptrdiff_t>(4 * (i + 1)), 4, window.row(i));
  }
  gnn::GnnQuery::Scratch scratch;
  imported.gnn->forward(0, state, window, window.view().sub_rows(0, 2), scratch);
  for (std::size_t c = 0; c < 4; ++c) EXPECT_NEAR(state[c], want.values[c], 1e-5);
  const auto trained =
      prepare_trained(*cosine_.snapshot(), std::move(imported), {}, 0, Executor(1));
  EXPECT_EQ(trained->parts().states.size(), 2U);
  export_model(folder_ / "again", *trained);
  const LearnedProjection again = import_model(folder_ / "again", *cosine_.snapshot());
  EXPECT_EQ(again.gnn->shape().scale, 12.5F);
}

TEST_F(ModelTensors, RefusesGnnTensorsThatDoNotFit) {
  TensorFile file = model(8);
  file.metadata["format"] = "halo.gnn.1";
  expect_refused(ErrorCode::kCorrupt, "gnn_heads is not a number", file);
  file.metadata["gnn_heads"] = "2";
  file.metadata["gnn_scale"] = "10";
  file.metadata["gnn_window"] = "0";
  expect_refused(ErrorCode::kCorrupt, "gnn_window", file);
  file.metadata["gnn_window"] = "6";
  expect_refused(ErrorCode::kCorrupt, "1 to 8 layers", file);
  file.add("layers.0.w_q", halo::test::random_matrix(4, 4, 2).view());
  expect_refused(ErrorCode::kUnsupportedFormat, "layers.0.w_k", file);
  for (const char* name : {"layers.0.w_k", "layers.0.w_v", "layers.0.w_o"}) {
    file.add(name, halo::test::random_matrix(4, 4, 3).view());
  }
  file.add("layers.0.gate", halo::test::random_matrix(2, 3, 4).view());
  expect_refused(ErrorCode::kCorrupt, "gate is 2 x 3", file);
  file.metadata["gnn_heads"] = "3";
  expect_refused(ErrorCode::kCorrupt, "divide", file);
}

TEST_F(ModelTensors, RefusesModelsOfAnotherIndexAndForgedOnes) {
  expect_refused(ErrorCode::kModelMismatch, "dimension 9", model(9));
  TensorFile other = model(8);
  other.metadata["unit_input"] = "false";
  expect_refused(ErrorCode::kModelMismatch, "metric", other);
  other = model(8);
  other.metadata["format"] = "something";
  expect_refused(ErrorCode::kUnsupportedFormat, "format", other);
  other = model(8);
  other.tensors.erase(other.tensors.begin());
  expect_refused(ErrorCode::kUnsupportedFormat, "projection.mean", other);
  other = model(8);
  other.tensors[2].values[0] = -1.0F;
  expect_refused(ErrorCode::kCorrupt, "scale", other);
  other = model(8);
  other.tensors[1].shape = {8, 4};
  expect_refused(ErrorCode::kCorrupt, "shapes", other);
}

}  // namespace
}  // namespace halo::io
