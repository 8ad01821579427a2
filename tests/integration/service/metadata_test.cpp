#include "halo/integration/service/metadata.h"

#include <gtest/gtest.h>

#include "halo/integration/engine.h"
#include "support/test_support.h"

namespace halo::service {
namespace {

using nlohmann::json;

std::vector<Id> matching(const MetadataTable& table, const json& filter, Id most = 10) {
  const auto rows = table.matching(MetadataFilter::parse(filter));
  std::vector<Id> ids;
  for (Id id = 0; id < most; ++id) {
    if (table.passes(rows, id)) ids.push_back(id);
  }
  return ids;
}

TEST(Metadata, FiltersByValuesAndRanges) {
  MetadataTable table;
  table.put(0, {{"kind", "shoe"}, {"price", 10}, {"new", true}});
  table.put(1, {{"kind", "shirt"}, {"price", 20.5}});
  table.put(2, {{"kind", "shoe"}, {"price", 30}, {"new", false}});
  table.put(3, {{"kind", 7}, {"price", "10"}});
  table.touch(4, false);
  using Ids = std::vector<Id>;
  EXPECT_EQ(matching(table, {{"kind", "shoe"}}), (Ids{0, 2}));
  EXPECT_EQ(matching(table, {{"kind", 7}}), (Ids{3}));
  EXPECT_EQ(matching(table, {{"new", false}}), (Ids{2}));
  EXPECT_EQ(matching(table, {{"price", {{"gte", 10}, {"lt", 30}}}}), (Ids{0, 1}));
  EXPECT_EQ(matching(table, {{"price", {{"gt", 10}}}}), (Ids{1, 2}));
  EXPECT_EQ(matching(table, {{"price", {{"lte", 10}}}}), (Ids{0})) << "a string is no number";
  EXPECT_EQ(matching(table, {{"kind", {{"in", {"shirt", 7}}}}}), (Ids{1, 3}));
  EXPECT_EQ(matching(table, {{"kind", "shoe"}, {"price", {{"gt", 10}}}}), (Ids{2}));
  EXPECT_EQ(matching(table, {{"nothing", 1}}), Ids{});
  EXPECT_EQ(matching(table, json::object()), (Ids{0, 1, 2, 3, 4}));
  table.put(0, {{"price", 5}});  // replaces all
  EXPECT_EQ(matching(table, {{"kind", "shoe"}}), (Ids{2}));
  table.touch(2, true);
  EXPECT_EQ(matching(table, {{"kind", "shoe"}}), Ids{});
}

TEST(Metadata, ManyRows) {
  MetadataTable table;
  for (Id id = 0; id < 1000; ++id) table.put(id, {{"n", id}, {"even", id % 2 == 0}});
  const auto ids = matching(table, {{"n", {{"gte", 100}, {"lt", 900}}}, {"even", true}}, 1000);
  EXPECT_EQ(ids.size(), 400U);
  EXPECT_EQ(ids.front(), 100);
  EXPECT_EQ(ids.back(), 898);
}

TEST(Metadata, SaysTheSameOfASnapshotsNodes) {
  const Matrix vectors = test::random_matrix(200, 4, 1);
  const Engine engine = Engine::build(vectors, {}, {}, Executor(1));
  MetadataTable table;
  for (Id id = 199; id >= 0; --id) table.put(id, {{"third", id % 3}});
  const auto rows = table.matching(MetadataFilter::parse({{"third", 1}}));
  const Filter nodes = table.nodes(rows, engine.snapshot());
  EXPECT_EQ(nodes.count(), 67U);
  for (Node node = 0; node < 200; ++node) {
    EXPECT_EQ(nodes.allows(node), engine.snapshot()->id(node) % 3 == 1);
  }
}

TEST(Metadata, RefusesWhatIsNoFilter) {
  for (const char* text : {"[]", "1", R"({"a": null})", R"({"a": [1]})", R"({"a": {}})",
                           R"({"a": {"like": 1}})", R"({"a": {"gt": "x"}})", R"({"a": {"in": []}})",
                           R"({"a": {"in": [[]]}})", R"({"a": {"eq": 1, "gt": 2}})"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "filter",
                       [&] { MetadataFilter::parse(json::parse(text)); });
  }
}

}  // namespace
}  // namespace halo::service
