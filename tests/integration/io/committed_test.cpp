// Files that an earlier program wrote are read for ever, and lie byte by byte as docs/format.md
// says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "integration/io/committed_vectors.h"

namespace halo::io::test {
namespace {

namespace fs = std::filesystem;

fs::path folder() { return fs::path(HALO_SOURCE_DIR) / "tests/integration/io/committed"; }

/// The index holds the vectors that it was made of, and finds each of them.
void expect_vectors(const Engine& engine, float scale = 1.0F) {
  const GraphSnapshot& snapshot = *engine.snapshot();
  ASSERT_EQ(snapshot.size(), kCommittedSize);
  ASSERT_EQ(snapshot.dim(), kCommittedDim);
  Matrix expected = committed_vectors(scale);
  std::vector<float> vector(kCommittedDim);
  for (std::size_t i = 0; i < kCommittedSize; ++i) {
    if (snapshot.metric() == Metric::kCosine) kernels::normalise(expected.row(i), kCommittedDim);
    const auto node = snapshot.find(committed_id(i));
    ASSERT_TRUE(node.has_value()) << i;
    snapshot.copy_vector(*node, vector);
    for (std::size_t d = 0; d < kCommittedDim; ++d) {
      EXPECT_NEAR(vector[d], expected.row(i)[d], 1e-6F);
    }
  }
  if (snapshot.metric() == Metric::kInnerProduct) return;  // a longer vector may be nearer
  const BatchResults results =
      engine.search(committed_vectors(scale), {.k = 1, .ef = kCommittedSize}, Executor(1));
  for (std::size_t i = 0; i < kCommittedSize; ++i) EXPECT_EQ(results.ids[i], committed_id(i));
}

/// Results are mostly of the vector's own class: a third would be chance.
void expect_classes(const Engine& engine, RefineMode mode) {
  constexpr std::size_t kOfOneClass = kCommittedSize / kCommittedClasses;
  const BatchResults results =
      engine.search(committed_vectors(), {.k = kOfOneClass, .refine = mode}, Executor(1));
  std::size_t own = 0;
  for (std::size_t i = 0; i < kCommittedSize; ++i) {
    for (std::size_t r = 0; r < kOfOneClass; ++r) {
      const Id id = results.ids[i * kOfOneClass + r];
      own += static_cast<std::size_t>((1000 - id) / 3) % kCommittedClasses == i % kCommittedClasses
                 ? 1
                 : 0;
    }
  }
  EXPECT_GE(own, kCommittedSize * kOfOneClass * 6 / 10);
}

TEST(Committed, EveryFileIsRead) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder())) {
    SCOPED_TRACE(entry.path().filename());
    EXPECT_LE(entry.file_size(), 64u << 10);
    const bool bytes = entry.path().filename() == "stored-bytes.halo";
    expect_vectors(Engine::load(entry.path()), bytes ? kCommittedWhole : 1.0F);
    ++files;
  }
  EXPECT_GE(files, 11u);
}

TEST(Committed, VectorsAsTheyAreKept) {
  const auto stored = [](const char* name) {
    return Engine::load(folder() / name).snapshot()->stored();
  };
  EXPECT_EQ(stored("plain-l2.halo"), CodeKind::kF32);
  EXPECT_EQ(stored("stored-f16.halo"), CodeKind::kF16);
  EXPECT_EQ(stored("stored-bf16.halo"), CodeKind::kBf16);
  EXPECT_EQ(stored("stored-bytes.halo"), CodeKind::kInt8);
}

TEST(Committed, MetricsAndCodes) {
  const auto expect = [](const char* name, Metric metric, CodeKind codes) {
    const Engine engine = Engine::load(folder() / name);
    EXPECT_EQ(engine.snapshot()->metric(), metric);
    EXPECT_EQ(engine.snapshot()->codes().kind(), codes);
    EXPECT_EQ(engine.snapshot()->M(), 4u);
    EXPECT_EQ(engine.snapshot()->ef_construction(), 20u);
    EXPECT_EQ(engine.snapshot()->seed(), 100u);
  };
  expect("plain-l2.halo", Metric::kL2, CodeKind::kF32);
  expect("plain-ip-bf16.halo", Metric::kInnerProduct, CodeKind::kBf16);
  expect("plain-cosine-int8.halo", Metric::kCosine, CodeKind::kInt8);
}

TEST(Committed, Models) {
  const Engine refined = Engine::load(folder() / "refined.halo");
  ASSERT_NE(refined.model(), nullptr);
  EXPECT_TRUE(refined.model()->parts().index.known());
  expect_classes(refined, RefineMode::kAuto);
  const Engine trained = Engine::load(folder() / "trained.halo");
  ASSERT_NE(trained.trained(), nullptr);
  EXPECT_EQ(trained.trained()->label_weight(), 0.5F);
  expect_classes(trained, RefineMode::kTrained);
  // Written before the centroids' share had a key of its own: it was a quarter then.
  EXPECT_EQ(trained.trained()->parts().centroid_share, 0.25F);
  const Engine shares = Engine::load(folder() / "trained-shares.halo");
  EXPECT_EQ(shares.trained()->parts().centroid_share, 0.25F);
  expect_classes(shares, RefineMode::kTrained);
  const Engine layers = Engine::load(folder() / "trained-gnn.halo");
  ASSERT_NE(layers.trained(), nullptr);
  ASSERT_NE(layers.trained()->parts().gnn, nullptr);
  EXPECT_EQ(layers.trained()->parts().gnn_window, 6U);
  expect_classes(layers, RefineMode::kTrained);
  const Engine fused = Engine::load(folder() / "fusion.halo");
  ASSERT_NE(fused.fusion(), nullptr);
  EXPECT_TRUE(fused.fusion()->fits(*fused.model()));
  expect_classes(fused, RefineMode::kTrained);
}

/// A file's bytes by the offsets of docs/format.md alone.
class Raw {
 public:
  explicit Raw(const char* name) {
    std::ifstream file(folder() / name, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    for (std::size_t i = 0; i < u32(12); ++i) entries_[u32(64 + 64 * i)] = 64 + 64 * i;
  }
  const std::string& bytes() const { return bytes_; }
  std::uint32_t u32(std::size_t offset) const { return number<std::uint32_t>(offset); }
  std::uint64_t u64(std::size_t offset) const { return number<std::uint64_t>(offset); }
  float f32(std::size_t offset) const { return number<float>(offset); }
  std::uint64_t checksum(std::size_t begin, std::size_t size) const {
    return XXH3_64bits(bytes_.data() + begin, size);
  }
  const std::map<std::uint32_t, std::size_t>& entries() const { return entries_; }
  /// Where the section of this kind begins, and its size.
  std::size_t begin(std::uint32_t kind) const { return u64(entries_.at(kind) + 8); }
  std::size_t size(std::uint32_t kind) const { return u64(entries_.at(kind) + 16); }

 private:
  template <class T>
  T number(std::size_t offset) const {
    T value{};
    EXPECT_LE(offset + sizeof value, bytes_.size());
    if (offset + sizeof value <= bytes_.size()) {
      std::memcpy(&value, bytes_.data() + offset, sizeof value);
    }
    return value;
  }
  std::string bytes_;
  std::map<std::uint32_t, std::size_t> entries_;
};

TEST(Committed, HeaderAndTableLieAsDocumented) {
  for (const char* name : {"plain-l2.halo", "refined.halo", "trained.halo"}) {
    SCOPED_TRACE(name);
    const Raw raw(name);
    EXPECT_EQ(raw.bytes().substr(0, 8), std::string("\x89HALO\r\n\x1a", 8));
    EXPECT_EQ(raw.u32(8), 1u);
    EXPECT_EQ(raw.u64(16), raw.bytes().size());
    const std::size_t sections = raw.u32(12);
    EXPECT_EQ(raw.u64(24), raw.checksum(64, sections * 64));
    EXPECT_EQ(raw.bytes().substr(32, 24), std::string(24, '\0'));
    EXPECT_EQ(raw.u64(56), raw.checksum(0, 56));
    EXPECT_EQ(raw.entries().size(), sections);
    std::size_t next = 64 + 64 * sections;
    for (std::size_t entry = 64; entry < 64 + 64 * sections; entry += 64) {
      EXPECT_EQ(raw.u32(entry + 4), 0u);
      const std::size_t begin = raw.u64(entry + 8), size = raw.u64(entry + 16);
      EXPECT_EQ(begin, next);
      EXPECT_EQ(raw.u64(entry + 24), raw.checksum(begin, size));
      next = (begin + size + 63) / 64 * 64;
      const std::string between = raw.bytes().substr(begin + size, next - begin - size);
      EXPECT_EQ(between, std::string(between.size(), '\0'));
    }
    EXPECT_EQ(next, raw.bytes().size());
    EXPECT_STREQ(raw.bytes().c_str() + raw.entries().at(1) + 32, "snapshot.manifest");
  }
}

TEST(Committed, TheIndexLiesAsDocumented) {
  const Raw raw("plain-l2.halo");
  const std::size_t manifest = raw.begin(1);
  EXPECT_EQ(raw.u32(manifest), 1u);
  EXPECT_EQ(raw.u32(manifest + 4), 1u);  // l2
  EXPECT_EQ(raw.u64(manifest + 8), kCommittedSize);
  EXPECT_EQ(raw.u64(manifest + 16), kCommittedDim);
  EXPECT_EQ(raw.u64(manifest + 24), 4u);
  EXPECT_EQ(raw.u64(manifest + 32), 20u);
  EXPECT_EQ(raw.u64(manifest + 40), 100u);
  const std::size_t layers = raw.u64(manifest + 48);
  EXPECT_EQ(raw.size(1), 64 + 8 * layers);
  const std::size_t entry_point = raw.u64(manifest + 56);

  ASSERT_EQ(raw.size(3), kCommittedSize * 8);
  ASSERT_EQ(raw.size(4), kCommittedSize);
  EXPECT_EQ(static_cast<std::size_t>(raw.bytes()[raw.begin(4) + entry_point]) + 1, layers);
  // A row is padded to 64 bytes.
  ASSERT_EQ(raw.size(2), kCommittedSize * 64);
  const Matrix vectors = committed_vectors();
  for (std::size_t node = 0; node < kCommittedSize; ++node) {
    const auto row = static_cast<std::size_t>((1000 - raw.u64(raw.begin(3) + 8 * node)) / 3);
    ASSERT_LT(row, kCommittedSize);
    for (std::size_t d = 0; d < 16; ++d) {
      EXPECT_EQ(raw.f32(raw.begin(2) + node * 64 + d * 4),
                d < kCommittedDim ? vectors.row(row)[d] : 0.0F);
    }
  }
  // Layer 0 comes first, with a row a node.
  const std::size_t links = raw.u64(manifest + 64);
  EXPECT_EQ(raw.u64(raw.begin(5)), 0u);
  EXPECT_EQ(raw.u64(raw.begin(5) + 8 * kCommittedSize), links);
  std::size_t offsets = 0, all_links = 0;
  for (std::size_t l = 0; l < layers; ++l) {
    const auto* levels = raw.bytes().data() + raw.begin(4);
    offsets += 1 + static_cast<std::size_t>(std::count_if(
                       levels, levels + kCommittedSize,
                       [&](char level) { return static_cast<std::size_t>(level) >= l; }));
    all_links += raw.u64(manifest + 64 + 8 * l);
  }
  EXPECT_EQ(raw.size(5), offsets * 8);
  EXPECT_EQ(raw.size(6), all_links * 4);
  const Engine engine = Engine::load(folder() / "plain-l2.halo");
  const auto neighbours = engine.snapshot()->neighbours(0, 0);
  ASSERT_EQ(neighbours.size(), raw.u64(raw.begin(5) + 8));
  for (std::size_t e = 0; e < neighbours.size(); ++e) {
    EXPECT_EQ(neighbours[e], raw.u32(raw.begin(6) + 4 * e));
  }
  EXPECT_EQ(Raw("plain-ip-bf16.halo").u32(Raw("plain-ip-bf16.halo").begin(7)), 2u);
  EXPECT_EQ(Raw("plain-cosine-int8.halo").u32(Raw("plain-cosine-int8.halo").begin(7)), 3u);
}

}  // namespace
}  // namespace halo::io::test
