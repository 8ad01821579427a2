#include "halo/integration/index_identity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/model_io.h"
#include "halo/integration/io/snapshot_io.h"
#include "halo/integration/io/trained_io.h"
#include "halo/integration/train.h"
#include "support/test_support.h"

namespace halo {
namespace {

using test::expect_error;

constexpr std::size_t kRows = 60, kDim = 8;

Matrix vectors() { return test::clustered_matrix(kRows, kDim, 6, 0.5F, 3); }

Engine built(const MatrixView& rows, Metric metric = Metric::kL2, std::uint64_t seed = 100) {
  BuildOptions options;
  options.metric = metric;
  options.seed = seed;
  options.codes = CodeKind::kInt8;
  return Engine::build(rows, {}, options, Executor(1));
}

/// With both kinds of models.
const Engine& whole_engine() {
  static const Engine kEngine = [] {
    gnn::RefineOptions options;
    options.spectral_rank = 4;
    const Engine refined = built(vectors()).refined(options, Executor(1));
    Matrix basis = Matrix::padded(2, kDim);
    basis.row(0)[0] = basis.row(1)[1] = 1;
    return refined.with_trained(prepare_trained(
        *refined.snapshot(), {"pca", gnn::Projection(std::vector<float>(kDim), std::move(basis))},
        {}, 0, Executor(1)));
  }();
  return kEngine;
}

/// Expects that neither model goes with `other`.
void expect_mismatch(const std::string& text, const std::shared_ptr<const GraphSnapshot>& other) {
  const Engine& engine = whole_engine();
  expect_error(ErrorCode::kModelMismatch, text, [&] { Engine(other, engine.model()); });
  expect_error(ErrorCode::kModelMismatch, text, [&] { Engine(other, nullptr, engine.trained()); });
}

TEST(IndexIdentity, TheSameIndexAfterSavingAndLoading) {
  const test::TemporaryFolder folder;
  whole_engine().save(folder / "index");
  const Engine loaded = Engine::load(folder / "index");
  EXPECT_EQ(identity_of(*loaded.snapshot()), identity_of(*whole_engine().snapshot()));
  EXPECT_EQ(loaded.model()->parts().index, identity_of(*loaded.snapshot()));
  EXPECT_EQ(loaded.trained()->parts().index, identity_of(*loaded.snapshot()));
  // Codes and dropped vectors leave an index what it is.
  EXPECT_NO_THROW(Engine(loaded.snapshot()->with_codes(CodeKind::kBf16), loaded.model()));
  EXPECT_NO_THROW(Engine(loaded.snapshot()->without_vectors(), loaded.model()));
}

TEST(IndexIdentity, EachDifferenceHasItsOwnMessage) {
  const Matrix rows = vectors();
  expect_mismatch("60 vectors of dimension 8, the index has 59 vectors of dimension 8",
                  built(rows.view().sub_rows(0, kRows - 1)).snapshot());
  expect_mismatch("the index has 60 vectors of dimension 9",
                  built(test::random_matrix(kRows, kDim + 1, 3)).snapshot());
  expect_mismatch("metric l2, the index has metric cosine",
                  built(rows, Metric::kCosine).snapshot());
  expect_mismatch("metric l2, the index has metric ip",
                  built(rows, Metric::kInnerProduct).snapshot());
  expect_mismatch("another graph", built(rows, Metric::kL2, 101).snapshot());

  // Twice as long, every vector has the same neighbours: the same graph of other vectors.
  Matrix longer(kRows, kDim);
  for (std::size_t i = 0; i < kRows; ++i) {
    std::ranges::transform(rows.row_span(i), longer.row(i), [](float x) { return 2 * x; });
  }
  const auto scaled = built(longer).snapshot();
  ASSERT_EQ(identity_of(*scaled).graph_hash, identity_of(*whole_engine().snapshot()).graph_hash);
  expect_mismatch("other vectors", scaled);
}

TEST(IndexIdentity, TwoMetricsOfUnitVectorsAreTold) {
  const Engine cosine = built(vectors(), Metric::kCosine).refined({}, Executor(1));
  expect_error(ErrorCode::kModelMismatch, "metric cosine, the index has metric ip",
               [&] { Engine(built(vectors(), Metric::kInnerProduct).snapshot(), cosine.model()); });
}

/// Files whose models are forged, or put beside another index, under valid checksums.
class ForgedModel : public testing::Test {
 protected:
  using Json = nlohmann::json;
  void expect_refused(ErrorCode code, const std::string& text, io::SectionKind manifest,
                      const std::function<void(Json&)>& change) {
    write(manifest, change);
    expect_error(code, text, [&] { Engine::load(forged_); });
    expect_error(code, forged_.string(), [&] { Engine::load(forged_); });
  }
  void write(io::SectionKind manifest, const std::function<void(Json&)>& change) {
    whole_engine().save(folder_ / "whole");
    const io::BundleReader reader(folder_ / "whole");
    io::BundleWriter writer;
    for (const auto& section : reader.sections()) {
      std::vector<std::byte> bytes = reader.read(section);
      if (section.kind == manifest) {
        const auto* text = reinterpret_cast<const char*>(bytes.data());
        Json json = Json::parse(text, text + bytes.size());
        change(json);
        const std::string changed = json.dump();
        const auto view = std::as_bytes(std::span(changed));
        bytes.assign(view.begin(), view.end());
      }
      writer.add(section.kind, section.name, std::move(bytes));
    }
    writer.write(forged_);
  }

  test::TemporaryFolder folder_;
  std::filesystem::path forged_ = folder_ / "forged";
};

TEST_F(ForgedModel, IsRefusedForWhatItSaysOfItsIndex) {
  for (const auto kind : {io::SectionKind::kModelManifest, io::SectionKind::kTrainedManifest}) {
    expect_refused(ErrorCode::kModelMismatch, "another graph", kind,
                   [](Json& j) { j["index"]["graph"] = 1; });
    expect_refused(ErrorCode::kModelMismatch, "other vectors", kind,
                   [](Json& j) { j["index"]["vectors"] = 1; });
    expect_refused(ErrorCode::kModelMismatch, "metric ip", kind,
                   [](Json& j) { j["index"]["metric"] = "ip"; });
    expect_refused(ErrorCode::kModelMismatch, "metric", kind,
                   [](Json& j) { j["unit_input"] = true; });
    expect_refused(ErrorCode::kCorrupt, "manifest", kind, [](Json& j) { j["index"] = 7; });
    expect_refused(ErrorCode::kCorrupt, "manifest", kind,
                   [](Json& j) { j["index"]["graph"] = -1; });
    expect_refused(ErrorCode::kCorrupt, "metric", kind, [](Json& j) { j["index"]["metric"] = ""; });
    expect_refused(ErrorCode::kUnsupportedFormat, "form 9", kind, [](Json& j) { j["form"] = 9; });
  }
}

TEST_F(ForgedModel, OfBeforeThereWereIdentitiesIsRead) {
  write(io::SectionKind::kModelManifest, [](Json& j) { j.erase("index"); });
  EXPECT_FALSE(Engine::load(forged_).model()->parts().index.known());
  write(io::SectionKind::kTrainedManifest, [](Json& j) {
    j.erase("index");
    j.erase("form");
  });
  EXPECT_FALSE(Engine::load(forged_).trained()->parts().index.known());
}

TEST_F(ForgedModel, BesideAnotherIndexIsRefused) {
  const Engine other = built(vectors(), Metric::kL2, 101);
  for (const bool trained : {false, true}) {
    io::BundleWriter writer;
    io::write_snapshot(writer, *other.snapshot());
    if (trained) {
      io::write_trained(writer, *whole_engine().trained());
    } else {
      io::write_model(writer, *whole_engine().model());
    }
    writer.write(forged_);
    expect_error(ErrorCode::kModelMismatch, forged_.string() + ": the ",
                 [&] { Engine::load(forged_); });
  }
}

}  // namespace
}  // namespace halo
