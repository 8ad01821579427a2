#include "halo/integration/cli/zero_vectors.h"

#include <gtest/gtest.h>

#include "support/test_support.h"

namespace halo::cli {
namespace {

using Rows = std::vector<std::size_t>;

// 400 rows of ones, those named zero.
Matrix ones_but(const Rows& zero) {
  Matrix x(400, 3);
  for (std::size_t i = 0; i < 400; ++i) {
    for (std::size_t d = 0; d < 3; ++d) x.row(i)[d] = static_cast<float>(i + 1);
  }
  for (const std::size_t i : zero) std::fill_n(x.row(i), 3, 0.0F);
  return x;
}

TEST(ZeroVectors, AFewAreLeftOutAndTheOthersKeepTheirRowNumbers) {
  Matrix x = ones_but({0, 57});
  std::vector<Id> ids;
  EXPECT_EQ(leave_out_zero_vectors(x, ids, "auto").rows, (Rows{0, 57}));
  ASSERT_EQ(x.rows(), 398U);
  ASSERT_EQ(ids.size(), 398U);
  for (std::size_t i = 0; i < 398; ++i) EXPECT_EQ(x.row(i)[1], static_cast<float>(ids[i] + 1));
  EXPECT_EQ(ids[0], 1);
  EXPECT_EQ(ids[56], 58);
}

TEST(ZeroVectors, GivenIdsFollowTheirVectors) {
  Matrix x = ones_but({3});
  std::vector<Id> ids;
  for (Id i = 0; i < 400; ++i) ids.push_back(1000 + i);
  leave_out_zero_vectors(x, ids, "skip");
  EXPECT_EQ(ids[3], 1004);
  EXPECT_EQ(x.row(3)[0], 5.0F);
}

TEST(ZeroVectors, ManyAreRefusedUnlessSkippingIsAskedFor) {
  const auto refused = [](const Rows& zero, const char* policy, const char* text) {
    Matrix x = ones_but(zero);
    std::vector<Id> ids;
    test::expect_error(ErrorCode::kZeroVector, text,
                       [&] { leave_out_zero_vectors(x, ids, policy); });
    EXPECT_EQ(x.rows(), 400U);
    EXPECT_TRUE(ids.empty());
  };
  refused({9, 10, 11}, "auto", "3 of 400");
  refused({9}, "refuse", "row 9");
  Rows all(400);
  for (std::size_t i = 0; i < 400; ++i) all[i] = i;
  refused(all, "skip", "400 of 400");
  Matrix x = ones_but({9, 10, 11});
  std::vector<Id> ids;
  EXPECT_EQ(leave_out_zero_vectors(x, ids, "skip").rows.size(), 3U);
}

TEST(ZeroVectors, NothingChangesWhereThereAreNone) {
  Matrix x = ones_but({});
  std::vector<Id> ids;
  EXPECT_TRUE(leave_out_zero_vectors(x, ids, "refuse").rows.empty());
  EXPECT_EQ(x.rows(), 400U);
  EXPECT_TRUE(ids.empty());
}

}  // namespace
}  // namespace halo::cli
