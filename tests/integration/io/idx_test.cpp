#include "halo/integration/io/idx.h"

#include <gtest/gtest.h>

#include "integration/io/load.h"

namespace halo::io::test {
namespace {

const Bytes kImages = idx({2, 2, 2}, raw<std::uint8_t>({0, 1, 2, 3, 252, 253, 254, 255}));
const Bytes kLabels = idx({4}, raw<std::uint8_t>({9, 0, 3, 255}));

TEST(Idx, FlattensImages) {
  for (const auto& [name, bytes] :
       {std::pair("t10k-images-idx3-ubyte", kImages), std::pair("t10k-images.idx3-ubyte", kImages),
        std::pair("train-images-idx3-ubyte.gz", gzip(kImages)),
        std::pair("IMAGES-UBYTE.GZ", gzip(kImages))}) {
    expect_matrix(vectors_in(name, bytes), 2, 4, {0, 1, 2, 3, 252, 253, 254, 255});
  }
  expect_matrix(vectors_in("a-ubyte", idx({1, 3}, raw<std::uint8_t>({5, 6, 7}))), 1, 3, {5, 6, 7});
}

TEST(Idx, ReadsLabels) {
  const std::vector<std::int64_t> expected = {9, 0, 3, 255};
  EXPECT_EQ(labels_in("labels-idx1-ubyte", kLabels), expected);
  EXPECT_EQ(labels_in("labels-idx1-ubyte.gz", gzip(kLabels)), expected);
}

TEST(Idx, ReadsMoreThanOneBufferOfCompressedBytes) {
  Bytes pixels(3000 * 1000);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = std::byte{static_cast<unsigned char>(i * i >> 7)};
  }
  const Matrix matrix = vectors_in("a-ubyte.gz", gzip(idx({3000, 1000}, pixels)));
  ASSERT_EQ(matrix.rows(), 3000u);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    ASSERT_EQ(matrix.data()[i], static_cast<float>(std::to_integer<int>(pixels[i]))) << i;
  }
}

TEST(Idx, RefusesOtherContents) {
  const auto refused = [](ErrorCode code, const std::string& text, const Bytes& bytes) {
    expect_refusal(code, "a-ubyte", text, [&] { vectors_in("a-ubyte", bytes); });
    if (!bytes.empty()) {
      expect_refusal(code, "a-ubyte.gz", text, [&] { vectors_in("a-ubyte.gz", gzip(bytes)); });
    }
  };
  refused(ErrorCode::kUnsupportedFormat, "not an IDX", bytes_of("something else"));
  refused(ErrorCode::kUnsupportedFormat, "type 13", idx({1, 1}, Bytes(4), 0x0D));
  refused(ErrorCode::kUnsupportedFormat, "this file has 1", kLabels);
  refused(ErrorCode::kUnsupportedFormat, "this file has 0", idx({}, Bytes(1)));
  refused(ErrorCode::kCorrupt, "", Bytes(kImages.begin(), kImages.end() - 1));
  refused(ErrorCode::kCorrupt, "", kImages + Bytes(1));
  refused(ErrorCode::kCorrupt, "", Bytes(kImages.begin(), kImages.begin() + 6));
  refused(ErrorCode::kEmpty, "no vectors", idx({0, 28, 28}, {}));
  expect_refusal(ErrorCode::kCorrupt, "a-ubyte", "ends", [] { vectors_in("a-ubyte", {}); });
  expect_refusal(ErrorCode::kCorrupt, "a-ubyte.gz", "empty", [] { vectors_in("a-ubyte.gz", {}); });
  expect_refusal(ErrorCode::kUnsupportedFormat, "l-ubyte", "labels need 1",
                 [] { labels_in("l-ubyte", kImages); });
}

TEST(Idx, RefusesSizesThatNoSuchFileHolds) {
  for (const Bytes& bytes :
       {idx({0xffffffff, 0xffffffff}, Bytes(8)), idx({1, 0xffffffff, 0xffffffff, 0xffffffff}, {}),
        idx({60000, 28, 28}, Bytes(100)), idx({0xffffffff, 0, 0xffffffff}, Bytes(10)),
        idx({2, 0x80000000, 0x80000000, 2}, {})}) {
    expect_refusal(ErrorCode::kCorrupt, "a-ubyte", "", [&] { vectors_in("a-ubyte", bytes); });
    expect_refusal(ErrorCode::kCorrupt, "a-ubyte", "",
                   [&] { vectors_in("a-ubyte.gz", gzip(bytes)); });
  }
}

TEST(Idx, ABombIsNotInflated) {
  // 16 MB of zeros behind a header that promises four bytes.
  const Bytes bomb = gzip(idx({1, 4}, Bytes(std::size_t{16} << 20)));
  expect_refusal(ErrorCode::kCorrupt, "a-ubyte.gz", "more contents than the header promises",
                 [&] { vectors_in("a-ubyte.gz", bomb); });
}

TEST(Idx, SqueezedContentsAreCountedBeforeTheyAreKept) {
  constexpr std::uint32_t kSide = 1024;
  const Bytes zeros(std::size_t{2} * kSide * kSide);
  EXPECT_EQ(vectors_in("a-ubyte.gz", gzip(idx({2, kSide, kSide}, zeros))).cols(), kSide * kSide);
  EXPECT_EQ(labels_in("a-ubyte.gz", gzip(idx({2 * kSide * kSide}, zeros))).size(), zeros.size());
  // As much as a file of this length could hold, but more than it does.
  const Bytes liar = gzip(idx({2, kSide, kSide}, Bytes(zeros.size() - 1)));
  expect_refusal(ErrorCode::kCorrupt, "a-ubyte.gz", "end too early",
                 [&] { vectors_in("a-ubyte.gz", liar); });
}

TEST(Idx, RefusesGarbledGzip) {
  const Bytes good = gzip(kImages);
  expect_refusal(ErrorCode::kUnsupportedFormat, "a-ubyte.gz", "not a gzip",
                 [&] { vectors_in("a-ubyte.gz", kImages); });
  expect_refusal(ErrorCode::kUnsupportedFormat, "a-ubyte.gz", "not a gzip",
                 [&] { vectors_in("a-ubyte.gz", Bytes(1, std::byte{0x1f})); });
  expect_refusal(ErrorCode::kCorrupt, "a-ubyte.gz", "after the end",
                 [&] { vectors_in("a-ubyte.gz", good + Bytes(3)); });
  Bytes wrong_checksum = good;
  wrong_checksum[good.size() - 6] ^= std::byte{1};
  expect_refusal(ErrorCode::kCorrupt, "a-ubyte.gz", "incorrect data check",
                 [&] { vectors_in("a-ubyte.gz", wrong_checksum); });
}

}  // namespace
}  // namespace halo::io::test
