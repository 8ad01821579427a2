#include "halo/integration/service/store.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/test_support.h"

namespace halo::service {
namespace {

std::vector<std::uint64_t> sequences(const Store& store, std::uint64_t after) {
  std::vector<std::uint64_t> found;
  store.for_each_record(after, [&](std::uint64_t sequence, std::string_view record) {
    EXPECT_EQ(record, "record " + std::to_string(sequence));
    found.push_back(sequence);
  });
  return found;
}

TEST(Store, KeepsWhatWasWritten) {
  const test::TemporaryFolder folder;
  {
    Store store(folder.path());
    store.write([](Store::Transaction& transaction) {
      for (std::uint64_t s = 1; s <= 300; ++s) {
        transaction.append_log(s, "record " + std::to_string(s));
      }
      transaction.put_item(7, "seven");
      transaction.put_item(1 << 20, "large");
      transaction.put_item(3, "three");
      transaction.put_setting("name", "value");
    });
    store.write([](Store::Transaction& transaction) {
      transaction.trim_log(297);
      transaction.erase_item(3);
      transaction.erase_item(4);
    });
  }
  const Store store(folder.path());
  EXPECT_EQ(sequences(store, 0), (std::vector<std::uint64_t>{298, 299, 300}));
  EXPECT_EQ(sequences(store, 299), (std::vector<std::uint64_t>{300}));
  EXPECT_EQ(store.item(7), "seven");
  EXPECT_EQ(store.item(3), std::nullopt);
  EXPECT_EQ(store.setting("name"), "value");
  std::vector<Id> ids;
  store.for_each_item(8, [&](Id id, std::string_view) {
    ids.push_back(id);
    return true;
  });
  EXPECT_EQ(ids, (std::vector<Id>{1 << 20}));
}

TEST(Store, AFailedWriteLeavesNothing) {
  const test::TemporaryFolder folder;
  Store store(folder.path());
  EXPECT_THROW(store.write([](Store::Transaction& transaction) {
    transaction.put_item(1, "one");
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(store.item(1), std::nullopt);
}

TEST(Store, SaysWhenItIsFull) {
  const test::TemporaryFolder folder;
  Store store(folder.path(), std::size_t{1} << 18U);
  test::expect_error(ErrorCode::kNoSpace, "store", [&] {
    store.write([](Store::Transaction& transaction) {
      for (Id id = 0; id < 1000; ++id) transaction.put_item(id, std::string(1000, 'x'));
    });
  });
  EXPECT_EQ(store.item(0), std::nullopt);
  store.write([](Store::Transaction& transaction) { transaction.put_item(0, "fits"); });
  EXPECT_EQ(store.item(0), "fits");
}

}  // namespace
}  // namespace halo::service
