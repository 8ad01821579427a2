#include "halo/integration/service/collection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <numeric>
#include <thread>

#include "support/test_support.h"

namespace halo::service {
namespace {

constexpr std::size_t kDim = 8;

const Matrix& base() {
  static const Matrix matrix = test::clustered_matrix(400, kDim, 8, 1.0F, 3);
  return matrix;
}
CollectionOptions cosine() {
  CollectionOptions options;
  options.dim = kDim;
  options.build.metric = Metric::kCosine;
  return options;
}
ItemWrite item(Id id, std::size_t row, nlohmann::json metadata = {}) {
  ItemWrite write;
  write.id = id;
  write.vector.assign(base().row(row), base().row(row) + kDim);
  if (!metadata.is_null()) write.metadata = std::move(metadata);
  return write;
}
std::vector<ItemWrite> items(std::size_t first, std::size_t count) {
  std::vector<ItemWrite> list;
  for (std::size_t i = first; i < first + count; ++i) {
    list.push_back(item(static_cast<Id>(i), i, {{"row", i}}));
  }
  return list;
}
std::vector<Id> ids(Id first, std::size_t count) {
  std::vector<Id> list(count);
  std::iota(list.begin(), list.end(), first);
  return list;
}
void wait_for(const Collection& collection, std::uint64_t job) {
  for (;;) {
    const auto now = collection.job(job);
    ASSERT_TRUE(now);
    ASSERT_NE(now->state, "failed") << now->error;
    if (now->state == "done") return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST(Collection, KeepsEveryAcknowledgedWriteWithoutBeingClosed) {
  const test::TemporaryFolder folder;
  {
    const auto collection = Collection::create(folder / "c", cosine());
    collection->upsert(items(0, 100));
    EXPECT_EQ(collection->remove(ids(10, 5)), 5U);
    EXPECT_EQ(collection->remove(ids(10, 6)), 1U) << "those that live";
    collection->upsert({item(0, 50, {{"name", "other"}})});
    ItemWrite only_metadata;
    only_metadata.id = 1;
    only_metadata.metadata = nlohmann::json::object({{"name", "changed"}});
    collection->upsert({only_metadata});
    collection->upsert({item(300, 300)});  // no metadata
  }
  const auto collection = Collection::open(folder / "c");
  const Collection::Stats stats = collection->stats();
  EXPECT_EQ(stats.vectors, 95U);
  EXPECT_EQ(collection->engine().vector(0), collection->engine().vector(50));
  EXPECT_EQ(collection->item(0), R"({"name":"other"})");
  EXPECT_EQ(collection->item(1), R"({"name":"changed"})");
  EXPECT_EQ(collection->item(12), std::nullopt);
  EXPECT_EQ(collection->item(300), "{}");
  const auto rows = collection->metadata().matching(MetadataFilter::parse({{"row", 20}}));
  EXPECT_TRUE(collection->metadata().passes(rows, 20));
  EXPECT_FALSE(collection->metadata().passes(rows, 21));
  EXPECT_EQ(collection->items(299, 5).size(), 1U);
}

TEST(Collection, SettlesSavesAndForgetsTheLog) {
  const test::TemporaryFolder folder;
  std::size_t files = 0;
  {
    const auto collection = Collection::create(folder / "c", cosine());
    collection->upsert(items(0, 200));
    EXPECT_EQ(collection->stats().logged, 1U);
    wait_for(*collection, collection->refine({}, Matrix::copy_of(base().view().sub_rows(0, 60))));
    EXPECT_TRUE(collection->stats().refined);
    EXPECT_EQ(collection->stats().logged, 0U);
    collection->upsert(items(200, 50));
    wait_for(*collection, collection->settle());
    EXPECT_TRUE(collection->stats().refined) << "prepared again";
    collection->upsert(items(250, 10));
    collection->remove(ids(0, 3));
    for (const auto& entry : std::filesystem::directory_iterator(folder / "c")) {
      files += entry.path().extension() == ".halo" ? 1 : 0;
    }
  }
  EXPECT_EQ(files, 1U) << "the old file is removed";
  std::ofstream(folder.path() / "c" / "index-99999.halo") << "left by a crash";
  const auto collection = Collection::open(folder / "c");
  EXPECT_EQ(collection->stats().vectors, 257U);
  EXPECT_TRUE(collection->stats().refined);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "c" / "index-99999.halo"));
  collection->close({});
  EXPECT_EQ(collection->stats().unsettled, 0U);
  EXPECT_EQ(collection->stats().logged, 0U);
}

TEST(Collection, AnEmptiedCollectionStaysWhatItIs) {
  const test::TemporaryFolder folder;
  {
    const auto collection = Collection::create(folder / "c", cosine());
    collection->upsert(items(0, 20));
    wait_for(*collection, collection->settle());
    collection->remove(ids(0, 20));
    collection->close({});
  }
  const auto collection = Collection::open(folder / "c");
  EXPECT_EQ(collection->stats().vectors, 0U);
  EXPECT_EQ(collection->stats().metric, "cosine");
  collection->upsert(items(5, 3));
  EXPECT_EQ(collection->stats().vectors, 3U);
}

TEST(Collection, RefusedWritesChangeNothing) {
  const test::TemporaryFolder folder;
  const auto collection = Collection::create(folder / "c", cosine());
  collection->upsert(items(0, 10));
  auto bad = items(8, 4);
  bad[3].vector[2] = std::numeric_limits<float>::infinity();
  test::expect_error(ErrorCode::kNonFinite, "id 11", [&] { collection->upsert(bad); });
  bad = items(8, 4);
  bad[3].vector.pop_back();
  test::expect_error(ErrorCode::kDimensionMismatch, "id 11", [&] { collection->upsert(bad); });
  bad = items(8, 4);
  bad[3].id = 8;
  test::expect_error(ErrorCode::kDuplicateId, "8", [&] { collection->upsert(bad); });
  bad = items(8, 4);
  bad[3].vector.clear();
  test::expect_error(ErrorCode::kUnknownId, "11", [&] { collection->upsert(bad); });
  EXPECT_EQ(collection->stats().vectors, 10U);
  EXPECT_EQ(collection->stats().logged, 1U);
}

TEST(Collection, WritersShareCommits) {
  const test::TemporaryFolder folder;
  const auto collection = Collection::create(folder / "c", cosine());
  std::vector<std::thread> writers;
  for (std::size_t t = 0; t < 8; ++t) {
    writers.emplace_back([&, t] {
      for (std::size_t i = 0; i < 25; ++i) {
        const std::size_t row = t * 25 + i;
        collection->upsert({item(static_cast<Id>(row), row)});
        EXPECT_TRUE(collection->engine().contains(static_cast<Id>(row)));
        if (i % 5 == 4) collection->remove(ids(static_cast<Id>(row), 1));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  const Collection::Stats stats = collection->stats();
  EXPECT_EQ(stats.vectors, 160U);
  EXPECT_EQ(stats.writes, 240U);
  EXPECT_LE(stats.commits, stats.writes);
}

}  // namespace
}  // namespace halo::service
