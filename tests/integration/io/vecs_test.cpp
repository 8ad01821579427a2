#include "halo/integration/io/vecs.h"

#include <gtest/gtest.h>

#include "integration/io/load.h"

namespace halo::io::test {
namespace {

const Bytes kFvecs =
    raw<std::int32_t>({2}) + raw<float>({1, -2.5f}) + raw<std::int32_t>({2}) + raw<float>({3, 4});

TEST(Vecs, ReadsFloats) { expect_matrix(vectors_in("a.fvecs", kFvecs), 2, 2, {1, -2.5f, 3, 4}); }

TEST(Vecs, ReadsBytes) {
  const Bytes bytes = raw<std::int32_t>({3}) + raw<std::uint8_t>({0, 128, 255});
  expect_matrix(vectors_in("a.bvecs", bytes), 1, 3, {0, 128, 255});
  expect_matrix(vectors_in("folder.fvecs/A.BVECS", bytes), 1, 3, {0, 128, 255});
  expect_matrix(vectors_in(".bvecs", bytes), 1, 3, {0, 128, 255});
}

TEST(Vecs, ReadsIds) {
  const Bytes two_rows = raw<std::int32_t>({3, 5, 6, 7, 3, 8, 9, -1});
  const IdMatrix truth = truth_in("gt.ivecs", two_rows);
  EXPECT_EQ(truth.rows, 2u);
  EXPECT_EQ(truth.cols, 3u);
  EXPECT_EQ(truth.values, (std::vector<std::int64_t>{5, 6, 7, 8, 9, -1}));
  EXPECT_EQ(ids_in("a.ivecs", raw<std::int32_t>({1, 5, 1, 6})), (std::vector<std::int64_t>{5, 6}));
  EXPECT_EQ(labels_in("a.ivecs", raw<std::int32_t>({3, 5, 6, 7})),
            (std::vector<std::int64_t>{5, 6, 7}));
  expect_refusal(ErrorCode::kUnsupportedFormat, "a.ivecs", "2 x 3",
                 [&] { ids_in("a.ivecs", two_rows); });
}

TEST(Vecs, RefusesTheWrongEnding) {
  expect_refusal(ErrorCode::kUnsupportedFormat, "a.ivecs", "not vectors",
                 [] { vectors_in("a.ivecs", kFvecs); });
  expect_refusal(ErrorCode::kUnsupportedFormat, "a.fvecs", "holds vectors",
                 [] { truth_in("a.fvecs", kFvecs); });
}

TEST(Vecs, RefusesRecordsThatDoNotFit) {
  const auto refused = [](ErrorCode code, const std::string& text, const Bytes& bytes) {
    expect_refusal(code, "a.fvecs", text, [&] { vectors_in("a.fvecs", bytes); });
  };
  refused(ErrorCode::kEmpty, "no vectors", {});
  refused(ErrorCode::kCorrupt, "ends", Bytes(3));
  refused(ErrorCode::kCorrupt, "0 elements", Bytes(16));
  refused(ErrorCode::kCorrupt, "-1 elements", raw<std::int32_t>({-1, 0, 0}));
  refused(ErrorCode::kCorrupt, "2147483647 elements", raw<std::int32_t>({0x7fffffff, 0, 0}));
  refused(ErrorCode::kCorrupt, "truncated", Bytes(kFvecs.begin(), kFvecs.end() - 1));
  // The length holds, the second record's own does not.
  refused(ErrorCode::kCorrupt, "record 1 has 3 elements, the first one 2",
          raw<std::int32_t>({2, 0, 0, 3, 0, 0}));
}

TEST(Bin, ReadsEveryType) {
  const Bytes shape = raw<std::uint32_t>({2, 1});
  expect_matrix(vectors_in("a.fbin", shape + raw<float>({1.5f, -2})), 2, 1, {1.5f, -2});
  expect_matrix(vectors_in("a.u8bin", shape + raw<std::uint8_t>({0, 255})), 2, 1, {0, 255});
  expect_matrix(vectors_in("a.I8BIN", shape + raw<std::int8_t>({-128, 127})), 2, 1, {-128, 127});
}

TEST(Bin, RefusesSizesThatTheFileDoesNotHave) {
  const auto refused = [](ErrorCode code, const std::string& text, const Bytes& bytes) {
    expect_refusal(code, "a.fbin", text, [&] { vectors_in("a.fbin", bytes); });
  };
  refused(ErrorCode::kCorrupt, "ends", {});
  refused(ErrorCode::kCorrupt, "ends", Bytes(7));
  refused(ErrorCode::kEmpty, "no vectors", Bytes(8));
  refused(ErrorCode::kEmpty, "no vectors", raw<std::uint32_t>({0xffffffff, 0}));
  refused(ErrorCode::kCorrupt, "2 x 1 elements", raw<std::uint32_t>({2, 1, 0}));
  refused(ErrorCode::kCorrupt, "2 x 1 elements", raw<std::uint32_t>({2, 1, 0, 0, 0}));
  refused(ErrorCode::kCorrupt, "", raw<std::uint32_t>({0xffffffff, 0xffffffff, 0, 0}));
}

}  // namespace
}  // namespace halo::io::test
