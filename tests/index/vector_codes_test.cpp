#include "halo/index/vector_codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/core/half_matrix.h"
#include "halo/core/random.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

Matrix whole_numbers(std::size_t n, std::size_t d, int low, int high) {
  Matrix matrix = Matrix::padded(n, d);
  Random random(3);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      matrix.row(i)[j] =
          static_cast<float>(low + static_cast<int>(random.uniform() * (high - low + 1)));
    }
  }
  return matrix;
}

const std::int8_t* int8_row(const VectorCodes& codes, std::size_t i) {
  return reinterpret_cast<const std::int8_t*>(codes.data() + i * codes.stride());
}

TEST(VectorCodes, BytesAreKeptAsTheyAre) {
  for (const int low : {0, -128}) {
    const Matrix data = whole_numbers(40, 37, low, low + 255);
    const VectorCodes codes = VectorCodes::encode(CodeKind::kInt8, Metric::kL2, data);
    EXPECT_TRUE(codes.lossless());
    EXPECT_EQ(codes.stride(), 64U);
    EXPECT_EQ(codes.bytes(), 40U * 64);
    for (std::size_t i = 0; i < 40; ++i) {
      for (std::size_t j = 0; j < 37; ++j) {
        EXPECT_EQ(int8_row(codes, i)[j], data.row(i)[j] - static_cast<float>(low + 128));
      }
      for (std::size_t j = 37; j < 64; ++j) EXPECT_EQ(int8_row(codes, i)[j], 0);
    }
  }
  // Under the other metrics codes count from 0 and keep their distances only nearly.
  const Matrix data = whole_numbers(40, 37, 0, 255);
  EXPECT_FALSE(VectorCodes::encode(CodeKind::kInt8, Metric::kInnerProduct, data).lossless());
}

TEST(VectorCodes, ErrorsAreHalfAStepExceptForOutliers) {
  for (const Metric metric : test::kMetrics) {
    Matrix data = test::random_matrix(300, 20, 5);
    if (metric == Metric::kCosine) data = test::normalised(data);
    const VectorCodes codes = VectorCodes::encode(CodeKind::kInt8, metric, data);
    const Int8Quantiser& quantiser = codes.quantiser();
    EXPECT_FALSE(codes.lossless());
    std::size_t clipped = 0;
    for (std::size_t i = 0; i < 300; ++i) {
      for (std::size_t j = 0; j < 20; ++j) {
        const int code = int8_row(codes, i)[j];
        const float value = quantiser.offset[j] + quantiser.scale * static_cast<float>(code);
        if (code == 127 || code == -128) {
          ++clipped;
        } else {
          EXPECT_LE(std::fabs(value - data.row(i)[j]), 0.5001F * quantiser.scale);
        }
      }
    }
    EXPECT_LT(clipped, 60U);  // of 6,000 values
  }
}

// One value a thousand times the others must not cost the others their resolution.
TEST(VectorCodes, OutliersDoNotCoarsenTheScaleOfADenseIndex) {
  Matrix data = test::random_matrix(2000, 16, 6);
  const float plain = Int8Quantiser::fit(Metric::kInnerProduct, data).scale;
  EXPECT_LT(plain, 6.0F / 127);
  data.row(1000)[3] = 30;
  EXPECT_LT(Int8Quantiser::fit(Metric::kInnerProduct, data).scale, 30.0F / 127);
}

TEST(VectorCodes, ConstantAndTinyValuesHaveAScale) {
  Matrix zeros = Matrix::padded(5, 3);
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
    const VectorCodes codes = VectorCodes::encode(CodeKind::kInt8, metric, zeros);
    EXPECT_GT(codes.quantiser().scale, 0);
  }
  for (std::size_t i = 0; i < 5; ++i) zeros.row(i)[1] = 1e-40F;
  const VectorCodes codes = VectorCodes::encode(CodeKind::kInt8, Metric::kInnerProduct, zeros);
  EXPECT_TRUE(std::isnormal(codes.quantiser().scale));
}

TEST(VectorCodes, LaterVectorsFitOrDoNot) {
  const Matrix bytes = whole_numbers(40, 9, 0, 255);
  const Int8Quantiser whole = Int8Quantiser::fit(Metric::kL2, bytes);
  EXPECT_TRUE(whole.fits(Metric::kL2, whole_numbers(7, 9, 0, 255)));
  EXPECT_FALSE(whole.fits(Metric::kL2, whole_numbers(7, 9, 0, 300)));
  EXPECT_FALSE(whole.fits(Metric::kL2, test::random_matrix(7, 9, 1)));
  Matrix data = test::random_matrix(500, 9, 2);
  const Int8Quantiser quantiser = Int8Quantiser::fit(Metric::kL2, data);
  EXPECT_TRUE(quantiser.fits(Metric::kL2, test::random_matrix(500, 9, 3)));
  for (std::size_t i = 0; i < 500; ++i) data.row(i)[i % 9] *= 50;
  EXPECT_FALSE(quantiser.fits(Metric::kL2, data));
  EXPECT_TRUE(quantiser.fits(Metric::kL2, {}));
}

TEST(VectorCodes, Bf16RowsAreTheRoundedVectors) {
  const Matrix data = test::random_matrix(12, 33, 7);
  const VectorCodes codes = VectorCodes::encode(CodeKind::kBf16, Metric::kL2, data);
  EXPECT_EQ(codes.stride(), 128U);
  for (std::size_t i = 0; i < 12; ++i) {
    const auto* row = reinterpret_cast<const Bf16*>(codes.data() + i * codes.stride());
    for (std::size_t j = 0; j < 33; ++j) EXPECT_EQ(row[j], float_to_bf16(data.row(i)[j]));
    for (std::size_t j = 33; j < 64; ++j) EXPECT_EQ(row[j], 0);
  }
  const VectorCodes none = VectorCodes::encode(CodeKind::kF32, Metric::kL2, data);
  EXPECT_EQ(none.bytes(), 0U);
  EXPECT_EQ(none.data(), nullptr);
}

TEST(VectorCodes, KindsHaveNames) {
  EXPECT_EQ(code_kind_name(CodeKind::kF32), "f32");
  EXPECT_EQ(code_kind_name(CodeKind::kBf16), "bf16");
  EXPECT_EQ(code_kind_name(CodeKind::kInt8), "int8");
  EXPECT_EQ(code_kind_name(static_cast<CodeKind>(9)), "unknown");
}

}  // namespace
}  // namespace halo
