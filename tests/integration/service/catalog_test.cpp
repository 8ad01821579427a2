#include "halo/integration/service/catalog.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/test_support.h"

namespace halo::service {
namespace {

namespace fs = std::filesystem;

CollectionOptions of_dim(std::size_t dim) {
  CollectionOptions options;
  options.dim = dim;
  return options;
}

TEST(Catalog, NamesAreNoPaths) {
  for (const char* name : {"a", "A-b_9", "0"}) EXPECT_TRUE(is_collection_name(name));
  EXPECT_TRUE(is_collection_name(std::string(64, 'x')));
  EXPECT_FALSE(is_collection_name(std::string(65, 'x')));
  for (const char* name : {"", ".", "..", "a/b", "a.b", "a b", "a\n", "ä", "a%2f"}) {
    EXPECT_FALSE(is_collection_name(name)) << name;
  }
}

TEST(Catalog, CreatesOpensAndErases) {
  const test::TemporaryFolder folder;
  {
    Catalog catalog(folder.path());
    catalog.create("one", of_dim(3));
    catalog.create("two", of_dim(4));
    test::expect_error(ErrorCode::kDuplicateId, "one", [&] { catalog.create("one", of_dim(3)); });
    test::expect_error(ErrorCode::kInvalidArgument, "dim", [&] { catalog.create("x", of_dim(0)); });
    test::expect_error(ErrorCode::kInvalidArgument, "name", [&] { catalog.get("../one"); });
    test::expect_error(ErrorCode::kNotFound, "three", [&] { catalog.get("three"); });
    catalog.erase("two");
    EXPECT_FALSE(fs::exists(folder / "two"));
    test::expect_error(ErrorCode::kNotFound, "two", [&] { catalog.erase("two"); });
    test::expect_error(ErrorCode::kIo, "another process", [&] { Catalog again(folder.path()); });
  }
  // What a crash in the midst of creating or erasing leaves is swept away.
  fs::create_directories(folder / ".making-three");
  fs::create_directories(folder / ".erasing-two");
  Catalog catalog(folder.path());
  catalog.open_all();
  EXPECT_EQ(catalog.names(), std::vector<std::string>{"one"});
  EXPECT_EQ(catalog.get("one")->engine().dim(), 3U);
  EXPECT_FALSE(fs::exists(folder / ".making-three"));
  EXPECT_FALSE(fs::exists(folder / ".erasing-two"));
}

}  // namespace
}  // namespace halo::service
