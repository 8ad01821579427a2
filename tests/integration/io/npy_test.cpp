#include "halo/integration/io/npy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "integration/io/load.h"

namespace halo::io::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// What NumPy 1.24 wrote for [[1, 2, 3], [-4.5, inf, nan]], spaces and all.
TEST(Npy, ReadsWhatNumPyWrote) {
  std::string text("\x93NUMPY\x01\x00v\x00", 10);
  text += "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  text += std::string(58, ' ') + "\n";
  text += std::string(
      "\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\x00\x90\xc0\x00\x00\x80\x7f\x00\x00"
      "\xc0\x7f",
      24);
  ASSERT_EQ(text.size(), 152u);
  expect_matrix(vectors_in("a.npy", bytes_of(text)), 2, 3, {1, 2, 3, -4.5f, kInf, kNan});
}

TEST(Npy, ReadsWhatNumPyWroteAsVersion3) {
  std::string text("\x93NUMPY\x03\x00t\x00\x00\x00", 12);
  text += "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }";
  text += std::string(56, ' ') + "\n\x07\x08";
  ASSERT_EQ(text.size(), 130u);
  expect_matrix(vectors_in("a.npy", bytes_of(text)), 1, 2, {7, 8});
}

TEST(Npy, EveryVectorType) {
  // NumPy's half of [[1, -2, 0.5], [65504, 6e-8, inf]].
  const Bytes halves = bytes_of(std::string("\x00<\x00\xc0\x00\x38\xff{\x01\x00\x00|", 12));
  expect_matrix(vectors_in("a.npy", npy("<f2", "(2, 3)", halves)), 2, 3,
                {1, -2, 0.5f, 65504, 5.9604644775390625e-8f, kInf});
  expect_matrix(vectors_in("a.npy", npy("<f2", "(1, 2)", raw<std::uint16_t>({0x7e00, 0x8000}))), 1,
                2, {kNan, -0.0f});
  expect_matrix(vectors_in("a.npy", npy("<f4", "(1, 2)", raw<float>({7, 8}), 2)), 1, 2, {7, 8});
  expect_matrix(vectors_in("a.npy", npy("<f8", "(1, 3)", raw<double>({0.1, 1e300, -1e300}))), 1, 3,
                {0.1f, kInf, -kInf});
  expect_matrix(vectors_in("a.npy", npy("|u1", "(2, 1)", raw<std::uint8_t>({0, 255}))), 2, 1,
                {0, 255});
  expect_matrix(vectors_in("A.NPY", npy("|i1", "(1, 2)", raw<std::int8_t>({-128, 127}))), 1, 2,
                {-128, 127});
}

/// Every half there is, against the definition: (-1)^s 2^(e-15) (1 + m / 1024), subnormals without
/// the 1.
TEST(Npy, EveryHalf) {
  Bytes data(2 * 65536);
  for (std::size_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    std::memcpy(data.data() + 2 * i, &bits, 2);
  }
  const Matrix matrix = vectors_in("a.npy", npy("<f2", "(1, 65536)", data));
  for (int i = 0; i < 65536; ++i) {
    const double sign = (i & 0x8000) != 0 ? -1 : 1;
    const int exponent = i >> 10 & 31;
    const int mantissa = i & 1023;
    const float found = matrix.row(0)[i];
    if (exponent == 31 && mantissa != 0) {
      EXPECT_NE(found, found);
    } else if (exponent == 31) {
      EXPECT_EQ(found, sign * std::numeric_limits<double>::infinity());
    } else {
      const double value =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      EXPECT_EQ(found, sign * value) << i;
    }
  }
}

TEST(Npy, EveryIntegerType) {
  const std::vector<std::int64_t> small = {1, 100};
  EXPECT_EQ(ids_in("a.npy", npy("|i1", "(2,)", raw<std::int8_t>({1, 100}))), small);
  EXPECT_EQ(ids_in("a.npy", npy("<i2", "(2,)", raw<std::int16_t>({1, 100}))), small);
  EXPECT_EQ(ids_in("a.npy", npy("<i4", "(2, 1)", raw<std::int32_t>({1, 100}))), small);
  EXPECT_EQ(ids_in("a.npy", npy("<i8", "(1, 2)", raw<std::int64_t>({1, 100}))), small);
  EXPECT_EQ(labels_in("a.npy", npy("|u1", "(2,)", raw<std::uint8_t>({1, 100}))), small);
  EXPECT_EQ(labels_in("a.npy", npy("<u2", "(2,)", raw<std::uint16_t>({1, 100}))), small);
  EXPECT_EQ(labels_in("a.npy", npy("<u4", "(2,)", raw<std::uint32_t>({1, 100}))), small);
  EXPECT_EQ(labels_in("a.npy", npy("<u8", "(2,)", raw<std::uint64_t>({1, 100}))), small);
  const std::vector<std::int64_t> wide = {-1, std::int64_t{1} << 40};
  EXPECT_EQ(labels_in("a.npy", npy("<i8", "(2,)", raw<std::int64_t>({-1, std::int64_t{1} << 40}))),
            wide);
  EXPECT_TRUE(ids_in("a.npy", npy("<i8", "(0,)", {})).empty());
  expect_refusal(ErrorCode::kInvalidArgument, "a.npy", "9223372036854775808 does not fit", [] {
    ids_in("a.npy", npy("<u8", "(1,)", raw<std::uint64_t>({std::uint64_t{1} << 63})));
  });
}

TEST(Npy, GroundTruthKeepsItsShape) {
  const IdMatrix truth =
      truth_in("a.npy", npy("<i4", "(2, 3)", raw<std::int32_t>({1, 2, 3, 4, 5, -1})));
  EXPECT_EQ(truth.rows, 2u);
  EXPECT_EQ(truth.cols, 3u);
  EXPECT_EQ(std::vector(truth.row(1).begin(), truth.row(1).end()),
            (std::vector<std::int64_t>{4, 5, -1}));
  expect_refusal(ErrorCode::kEmpty, "a.npy", "no neighbours",
                 [] { truth_in("a.npy", npy("<i4", "(0, 3)", {})); });
}

TEST(Npy, RefusesOtherKindsOfArray) {
  const Bytes six = raw<float>({1, 2, 3, 4, 5, 6});
  const auto refused = [](const std::string& text, const Bytes& bytes) {
    expect_refusal(ErrorCode::kUnsupportedFormat, "a.npy", text,
                   [&] { vectors_in("a.npy", bytes); });
  };
  refused("Fortran", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", six));
  refused(">f4", npy(">f4", "(2, 3)", six));
  refused("<c8", npy("<c8", "(1, 3)", six));
  refused("<U1", npy("<U1", "(2, 3)", six));
  refused("|b1", npy("|b1", "(4, 6)", six));
  refused("|O", npy("|O", "(1, 3)", six));
  refused("plain numbers",
          npy("{'descr': [('a', '<i4'), ('b', '<f4')], 'fortran_order': False, 'shape': (1,), }",
              raw<int>({1, 2})));
  refused("2 dimensions", npy("<f4", "(6,)", six));
  refused("2 dimensions", npy("<f4", "(1, 2, 3)", six));
  refused("2 dimensions", npy("<f4", "()", raw<float>({1})));
  refused("wider integers", npy("<i4", "(2, 3)", six));
  refused("version 4.0", npy("<f4", "(2, 3)", six, 4));
  refused("version 0.0", npy("<f4", "(2, 3)", six, 0));
  refused("not a .npy", bytes_of("PK\x03\x04 an .npz is a zip file"));
  expect_refusal(ErrorCode::kUnsupportedFormat, "a.npy", "not integers",
                 [&] { ids_in("a.npy", npy("<f4", "(6,)", six)); });
  expect_refusal(ErrorCode::kUnsupportedFormat, "a.npy", "one integer a row",
                 [&] { ids_in("a.npy", npy("<i4", "(2, 3)", six)); });
}

TEST(Npy, AnArrayOfNothingIsEmpty) {
  for (const char* shape : {"(0, 3)", "(3, 0)", "(0, 0)", "(1000000000000, 0)"}) {
    expect_refusal(ErrorCode::kEmpty, "a.npy", "no vectors",
                   [&] { vectors_in("a.npy", npy("<f4", shape, {})); });
  }
}

TEST(Npy, RefusesSizesThatTheFileDoesNotHave) {
  const Bytes six = raw<float>({1, 2, 3, 4, 5, 6});
  for (const char* shape :
       {"(2, 4)", "(2, 2)", "(1000000000000, 1000)", "(4611686018427387904, 4)",
        "(4611686018427387904, 0)", "(9223372036854775807, 9223372036854775807)",
        "(6148914691236517206, 3)", "(18446744073709551615, 1)", "(18446744073709551617, 6)",
        "(1, 99999999999999999999999)"}) {
    expect_refusal(ErrorCode::kCorrupt, "a.npy", "",
                   [&] { vectors_in("a.npy", npy("<f4", shape, six)); });
  }
  expect_refusal(ErrorCode::kCorrupt, "a.npy", "promises 24 bytes of data, the file holds 23", [&] {
    Bytes bytes = npy("<f4", "(2, 3)", six);
    bytes.pop_back();
    vectors_in("a.npy", bytes);
  });
}

TEST(Npy, RefusesGarbledHeaders) {
  const Bytes one = raw<float>({1});
  for (const char* text : {
           "",
           "{",
           "{}",
           "{'descr': '<f4'}",
           "{'descr': '<f4', 'fortran_order': False}",
           "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1, 1)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, -1)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1.0)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), 'more': 1}",
           "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), 'shape': (1, 1)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)} trailing",
           "{'descr': '<f4, 'fortran_order': False, 'shape': (1, 1)}",
           "[1, 2]",
       }) {
    expect_refusal(ErrorCode::kCorrupt, "a.npy", "", [&] { vectors_in("a.npy", npy(text, one)); });
  }
  Bytes long_header = npy("<f4", "(1, 1)", one, 2);
  long_header[10] = long_header[11] = std::byte{0xff};
  expect_refusal(ErrorCode::kCorrupt, "a.npy", "too long",
                 [&] { vectors_in("a.npy", long_header); });
  expect_refusal(ErrorCode::kCorrupt, "a.npy", "cut off", [&] { vectors_in("a.npy", {}); });
}

/// Other writers order and quote the keys differently.
TEST(Npy, AcceptsOtherSpellingsOfTheDictionary) {
  const Bytes one = raw<float>({1});
  expect_matrix(
      vectors_in("a.npy", npy("{\"shape\":(1,1),\"fortran_order\":False,\"descr\":\"<f4\"}", one)),
      1, 1, {1});
}

}  // namespace
}  // namespace halo::io::test
