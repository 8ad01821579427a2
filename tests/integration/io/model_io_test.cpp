#include "halo/integration/io/model_io.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "halo/core/random.h"
#include "halo/gnn/harm_gate.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/snapshot_io.h"
#include "support/test_support.h"

namespace halo::io {
namespace {

using Json = nlohmann::json;
using Bytes = std::vector<std::byte>;

Engine refined(float share) {
  gnn::RefineOptions options;
  options.spectral_rank = 4;
  options.entries.share = share;
  return Engine::build(test::clustered_matrix(60, 8, 6, 0.5F, 3), {}, {}, Executor(1))
      .refined(options, Executor(1));
}
const Engine& engine() {
  static const Engine kEngine = refined(1.0F);
  return kEngine;
}
const Engine& sparse_engine() {
  static const Engine kEngine = refined(0.5F);
  return kEngine;
}

class ModelIoTest : public testing::Test {
 protected:
  /// The model's sections with one of them changed, in a bundle with valid checksums.
  void write_forged(SectionKind changed, const std::function<void(Bytes&)>& forge) {
    source_->save(whole_);
    const BundleReader reader(whole_);
    BundleWriter writer;
    for (const auto& section : reader.sections()) {
      Bytes bytes = reader.read(section);
      if (section.kind == changed) forge(bytes);
      writer.add(section.kind, section.name, std::move(bytes));
    }
    writer.write(forged_);
  }
  void write_manifest(const std::function<void(Json&)>& change) {
    write_forged(SectionKind::kModelManifest, [&](Bytes& bytes) {
      const auto* text = reinterpret_cast<const char*>(bytes.data());
      Json json = Json::parse(text, text + bytes.size());
      change(json);
      const std::string changed = json.dump();
      const auto* begin = reinterpret_cast<const std::byte*>(changed.data());
      bytes.assign(begin, begin + changed.size());
    });
  }
  void expect_corrupt(const std::string& text) {
    test::expect_error(ErrorCode::kCorrupt, text, [&] { Engine::load(forged_); });
  }

  const Engine* source_ = &engine();
  test::TemporaryFolder folder_;
  std::filesystem::path whole_ = folder_ / "whole", forged_ = folder_ / "forged";
};

TEST_F(ModelIoTest, RestoresEveryPart) {
  engine().save(whole_);
  const auto loaded = read_model(BundleReader(whole_));
  const auto &a = engine().model()->parts(), &b = loaded->parts();
  EXPECT_EQ(a.size, b.size);
  EXPECT_EQ(a.dim, b.dim);
  EXPECT_EQ(a.unit_input, b.unit_input);
  EXPECT_EQ(a.edges, b.edges);
  EXPECT_EQ(a.global_nodes, b.global_nodes);
  EXPECT_EQ(a.base_coherence, b.base_coherence);
  EXPECT_EQ(a.participation_ratio, b.participation_ratio);
  EXPECT_EQ(a.flatness, b.flatness);
  EXPECT_EQ(a.calibrated_gate, b.calibrated_gate);
  EXPECT_EQ(a.options.window, b.options.window);
  EXPECT_EQ(a.options.layer.neighbour_share, b.options.layer.neighbour_share);
  ASSERT_EQ(a.heads.size(), b.heads.size());
  for (std::size_t h = 0; h < a.heads.size(); ++h) {
    EXPECT_EQ(a.heads[h].name, b.heads[h].name);
    EXPECT_EQ(a.heads[h].weight, b.heads[h].weight);
    EXPECT_EQ(a.heads[h].projection.mean(), b.heads[h].projection.mean());
    EXPECT_EQ(a.heads[h].content_share, b.heads[h].content_share);
    EXPECT_EQ(a.heads[h].thresholds, b.heads[h].thresholds);
    const ByteMatrix &x = a.heads[h].states, &y = b.heads[h].states;
    ASSERT_EQ(x.rows(), y.rows());
    for (std::size_t i = 0; i < x.rows(); ++i) {
      EXPECT_TRUE(std::ranges::equal(a.heads[h].structure.row(i), b.heads[h].structure.row(i)));
      EXPECT_EQ(x.scale(i), y.scale(i));
      EXPECT_TRUE(std::equal(x.row(i), x.row(i) + x.stride(), y.row(i)));
    }
  }
}

TEST_F(ModelIoTest, RestoresWhichEntriesWindowsKeep) {
  sparse_engine().save(whole_);
  const auto loaded = read_model(BundleReader(whole_));
  const auto &a = sparse_engine().model()->parts(), &b = loaded->parts();
  EXPECT_EQ(b.options.entries.share, 0.5F);
  EXPECT_EQ(a.options.entries.fewest, b.options.entries.fewest);
  EXPECT_EQ(a.options.entries.model, b.options.entries.model);
  for (std::size_t h = 0; h < a.heads.size(); ++h) EXPECT_EQ(a.heads[h].bars, b.heads[h].bars);
  // Only then is the form one that older programs refuse.
  source_ = &sparse_engine();
  write_manifest([](Json& j) { EXPECT_EQ(j["form"], 4); });
  source_ = &engine();
  write_manifest([](Json& j) {
    EXPECT_EQ(j["form"], 3);
    EXPECT_FALSE(j.contains("entries"));
  });
}

TEST_F(ModelIoTest, RefusesForgedEntries) {
  source_ = &sparse_engine();
  const std::vector<std::pair<const char*, std::function<void(Json&)>>> forgeries = {
      {"manifest", [](Json& j) { j.erase("entries"); }},
      {"share", [](Json& j) { j["entries"]["share"] = 0; }},
      {"fewest", [](Json& j) { j["entries"]["fewest"] = 2; }},
      {"number", [](Json& j) { j["entries"]["enough"] = "much"; }},
      {"28 numbers", [](Json& j) { j["entries"]["coefficients"].erase(0); }},
      {"28 numbers", [](Json& j) { j["entries"]["coefficients"] = 3; }},
      {"number", [](Json& j) { j["entries"]["coefficients"][3] = 1e300; }},
      {"coefficients", [](Json& j) { j["entries"]["coefficients"][3] = 1e6; }},
      {"2 numbers", [](Json& j) { j["heads"][0]["bars"] = {0.5}; }},
      {"number", [](Json& j) { j["heads"][0]["bars"][1] = nullptr; }},
      {"manifest", [](Json& j) { j["heads"][0].erase("bars"); }}};
  for (const auto& [text, forge] : forgeries) {
    SCOPED_TRACE(text);
    write_manifest(forge);
    expect_corrupt(text);
  }
}

TEST_F(ModelIoTest, AnIndexWithoutAModelHasNone) {
  Engine(engine().snapshot()).save(whole_);
  EXPECT_EQ(read_model(BundleReader(whole_)), nullptr);
}

TEST_F(ModelIoTest, RefusesForgedManifests) {
  const double huge = 1e300;
  const std::vector<std::pair<const char*, std::function<void(Json&)>>> forgeries = {
      {"size", [](Json& j) { j["size"] = 0; }},
      {"size", [](Json& j) { j["size"] = std::uint64_t{1} << 60; }},
      {"count", [](Json& j) { j["size"] = -1; }},
      {"count", [](Json& j) { j["dim"] = 1.5; }},
      {"count", [&](Json& j) { j["layers"] = huge; }},
      {"size", [](Json& j) { j["dim"] = 1 << 20; }},
      {"model", [](Json& j) { j["size"] = 59; }},
      {"layers", [](Json& j) { j["layers"] = 100; }},
      {"global nodes", [](Json& j) { j["global_nodes"] = 1000; }},
      {"structure", [](Json& j) { j["structure"]["kept"] = 17; }},
      {"bytes", [](Json& j) { j["structure"]["kept"] = 32; }},
      {"content share", [](Json& j) { j["heads"][0]["content_share"] = 2; }},
      {"number", [&](Json& j) { j["sharpness"] = huge; }},
      {"sharpness", [](Json& j) { j["sharpness"] = -1; }},
      {"manifest", [](Json& j) { j.erase("heads"); }},
      {"no head", [](Json& j) { j["heads"] = Json::array(); }},
      {"directions", [](Json& j) { j["heads"][1]["rank"] = 9; }},
      {"bytes", [](Json& j) { j["heads"][1]["rank"] = 3; }},
      {"weight", [](Json& j) { j["heads"][0]["weight"] = 7; }},
      {"coherence", [](Json& j) { j["base_coherence"] = 2; }},
      {"calibrated gate", [](Json& j) { j["calibrated_gate"] = -0.5; }},
      {"manifest",
       [](Json& j) {
         j = Json::array({1, 2});
       }},
  };
  for (const auto& [text, change] : forgeries) {
    SCOPED_TRACE(text);
    write_manifest(change);
    expect_corrupt("refinement model");
  }
  write_forged(SectionKind::kModelManifest, [](Bytes& bytes) { bytes.resize(bytes.size() / 2); });
  expect_corrupt("manifest");
}

TEST_F(ModelIoTest, RefusesForgedArrays) {
  for (const SectionKind kind :
       {SectionKind::kModelProjections, SectionKind::kModelStates, SectionKind::kModelScales,
        SectionKind::kModelThresholds, SectionKind::kModelStructure, SectionKind::kModelEdges,
        SectionKind::kModelGlobalNodes}) {
    write_forged(kind, [](Bytes& bytes) { bytes.resize(bytes.size() + 4); });
    expect_corrupt("bytes");
    write_forged(kind, [](Bytes& bytes) { bytes.resize(bytes.size() - 1); });
    expect_corrupt("bytes");
  }
  const auto fill = [](std::byte value) {
    return [value](Bytes& bytes) { std::fill(bytes.begin(), bytes.end(), value); };
  };
  write_forged(SectionKind::kModelProjections, fill(std::byte{0xff}));  // NaN
  expect_corrupt("not finite");
  write_forged(SectionKind::kModelStates, fill(std::byte{0x80}));  // -128: a number all the same
  EXPECT_NO_THROW(Engine::load(forged_));
  write_forged(SectionKind::kModelScales, fill(std::byte{0xff}));
  expect_corrupt("scale");
  write_forged(SectionKind::kModelStructure, fill(std::byte{0x7f}));
  expect_corrupt("outside the index");
  write_forged(SectionKind::kModelEdges, fill(std::byte{0x7f}));
  expect_corrupt("outside the index");
  write_forged(SectionKind::kModelEdges, fill(std::byte{0xff}));  // no edge anywhere: allowed
  EXPECT_NO_THROW(Engine::load(forged_));
  write_forged(SectionKind::kModelGlobalNodes, fill(std::byte{0xff}));
  expect_corrupt("global node");
}

TEST_F(ModelIoTest, RandomChangesGiveAModelOrATypedError) {
  Random random(17);
  for (int round = 0; round < 300; ++round) {
    const auto kind = static_cast<SectionKind>(16 + random.below(8));
    write_forged(kind, [&](Bytes& bytes) {
      for (int change = 0; change < 3 && !bytes.empty(); ++change) {
        bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
      }
    });
    try {
      const Engine loaded = Engine::load(forged_);
      QueryOptions options;
      options.refine = RefineMode::kAuto;
      loaded.search(test::random_matrix(55, 8, 1), options, Executor(1));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    }
  }
}

TEST_F(ModelIoTest, AModelOfAnotherFormIsUnsupported) {
  for (const auto& change : std::vector<std::function<void(Json&)>>{
           [](Json& j) { j["form"] = 2; }, [](Json& j) { j.erase("form"); }}) {
    write_manifest(change);
    test::expect_error(ErrorCode::kUnsupportedFormat, "prepare it again",
                       [&] { Engine::load(forged_); });
  }
}

TEST_F(ModelIoTest, AModelOfAnotherIndexIsRefused) {
  const Engine other =
      Engine::build(test::clustered_matrix(70, 8, 6, 0.5F, 4), {}, {}, Executor(1));
  BundleWriter writer;
  write_snapshot(writer, *other.snapshot());
  write_model(writer, *engine().model());
  writer.write(forged_);
  test::expect_error(ErrorCode::kModelMismatch, "60 vectors", [&] { Engine::load(forged_); });
}

}  // namespace
}  // namespace halo::io
