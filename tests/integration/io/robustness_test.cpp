// Every reader against damaged files: each truncation, each bit flip, and thousands of random
// changes. A typed error or a valid result is right; anything else, and anything a sanitizer sees,
// is not.
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "halo/core/random.h"
#include "integration/io/load.h"

namespace halo::io::test {
namespace {

struct Sample {
  std::string name;
  Bytes bytes;
  std::function<void(const std::string&, Bytes)> parse;
};

std::ostream& operator<<(std::ostream& out, const Sample& sample) { return out << sample.name; }

std::vector<Sample> samples() {
  const auto vectors = [](const std::string& name, Bytes bytes) {
    // Every value is looked at, so that a sanitizer sees each of them.
    const Matrix matrix = vectors_in(name, std::move(bytes));
    ASSERT_FALSE(matrix.empty());
    double sum = 0;
    for (std::size_t i = 0; i < matrix.rows(); ++i) {
      for (const float value : matrix.row_span(i)) sum += value == value ? 1.0 : 0.5;
    }
    ASSERT_GT(sum, 0);
  };
  const auto truth = [](const std::string& name, Bytes bytes) {
    const IdMatrix matrix = truth_in(name, std::move(bytes));
    ASSERT_EQ(matrix.values.size(), matrix.rows * matrix.cols);
  };
  const auto labels = [](const std::string& name, Bytes bytes) {
    labels_in(name, std::move(bytes));
  };
  const auto qrels = [](const std::string&, Bytes bytes) {
    qrels_in(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), 10);
  };
  const Bytes six = raw<float>({1, 2, 3, 4, 5, 6});
  const Bytes images = idx({2, 2, 3}, Bytes(12, std::byte{7}));
  return {
      {"v1.npy", npy("<f4", "(2, 3)", six), vectors},
      {"v2.npy", npy("<f8", "(1, 3)", six, 2), vectors},
      {"v3.npy", npy("<f2", "(4, 3)", six, 3), vectors},
      {"truth.npy", npy("<i4", "(2, 3)", six), truth},
      {"labels.npy", npy("<u2", "(12,)", six), labels},
      {"a.fvecs", raw<std::int32_t>({2, 5, 6, 2, 7, 8, 2, 9, 9}), vectors},
      {"a.bvecs", raw<std::int32_t>({4, 5, 4, 7}), vectors},
      {"a.ivecs", raw<std::int32_t>({2, 5, 6, 2, 7, 8}), truth},
      {"a.fbin", raw<std::uint32_t>({2, 3}) + six, vectors},
      {"a.u8bin", raw<std::uint32_t>({8, 3}) + six, vectors},
      {"a.i8bin", raw<std::uint32_t>({3, 8}) + six, vectors},
      {"images-ubyte", images, vectors},
      {"images-ubyte.gz", gzip(images), vectors},
      {"labels-ubyte", idx({5}, Bytes(5)), labels},
      {"labels-ubyte.gz", gzip(idx({5}, Bytes(5))), labels},
      {"qrels", bytes_of("0 0 17 1\r\n\n3 0 5 -2\n9 Q0 123456789 0\n"), qrels},
  };
}

class Robustness : public testing::TestWithParam<Sample> {
 protected:
  /// True where the bytes were accepted.
  static bool parses(const Bytes& bytes) {
    try {
      GetParam().parse(GetParam().name, bytes);
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind(GetParam().name, 0), 0u) << error.what();
      const auto code = error.code();
      EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupportedFormat ||
                  code == ErrorCode::kEmpty || code == ErrorCode::kInvalidArgument)
          << error.what();
      return false;
    }
  }
};

TEST_P(Robustness, EveryTruncation) {
  const Bytes& bytes = GetParam().bytes;
  ASSERT_TRUE(parses(bytes));
  std::size_t accepted = 0;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    accepted +=
        parses(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length))) ? 1 : 0;
  }
  // Formats without a length of their own may be cut between two records.
  const bool headerless = GetParam().name == "qrels" || GetParam().name.ends_with("vecs");
  if (!headerless) {
    EXPECT_EQ(accepted, 0u);
  } else {
    EXPECT_LT(accepted, bytes.size() / 2);
  }
}

TEST_P(Robustness, EveryBitFlip) {
  Bytes bytes = GetParam().bytes;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    bytes[bit / 8] ^= mask;
    parses(bytes);
    bytes[bit / 8] ^= mask;
  }
}

TEST_P(Robustness, RandomChanges) {
  Random random(20);
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes = GetParam().bytes;
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
      constexpr unsigned char kValues[] = {0, 1, '0', '9', '-', 0x7f, 0x80, 0xff};
      const bool any = random.below(2) == 0;
      const unsigned char value =
          any ? static_cast<unsigned char>(random.below(256)) : kValues[random.below(8)];
      bytes[random.below(bytes.size())] = std::byte{value};
    }
    if (random.below(10) == 0) bytes.resize(random.below(2 * bytes.size()));
    parses(bytes);
  }
}

TEST_P(Robustness, RandomBytes) {
  Random random(21);
  for (int round = 0; round < 500; ++round) {
    Bytes bytes(random.below(200));
    for (std::byte& b : bytes) b = std::byte{static_cast<unsigned char>(random.below(256))};
    parses(bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Readers, Robustness, testing::ValuesIn(samples()),
                         [](const testing::TestParamInfo<Sample>& sample) {
                           std::string name = sample.param.name;
                           for (char& c : name) {
                             if (c == '.' || c == '-') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace halo::io::test
