#include "halo/core/kernels/code_distance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/kernels/every_isa.h"
#include "halo/core/aligned_memory.h"
#include "halo/core/kernels/code_distance_reference.h"
#include "halo/core/kernels/distance_reference.h"
#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

std::vector<std::size_t> awkward_dimensions() {
  std::vector<std::size_t> dims(65);
  std::iota(dims.begin(), dims.end(), 1);
  dims.insert(dims.end(), {100, 127, 128, 129, 617, 769, 784, 1024});
  return dims;
}

// `rows` x `width` values of a kind, zero from `d` on, rows 64-byte aligned.
template <class T>
struct Codes {
  Codes(std::size_t n, std::size_t d)
      : stride((d * sizeof(T) + 63) / 64 * 64), width((d + 31) / 32 * 32) {
    stride = std::max(stride, width * sizeof(T));
    data = static_cast<T*>(allocate_aligned(n * stride));
    owner.reset(data);
    std::fill_n(reinterpret_cast<char*>(data), n * stride, '\0');
  }
  T* row(std::size_t i) { return reinterpret_cast<T*>(reinterpret_cast<char*>(data) + i * stride); }
  CodeRows rows() const { return {reinterpret_cast<const std::byte*>(data), stride, width, 3, 2}; }
  std::size_t stride, width;
  T* data;
  AlignedArray<T> owner;
};

std::int16_t random_integer(Random& random, int low, int high) {
  return static_cast<std::int16_t>(low + static_cast<int>(random.uniform() * (high - low + 1)));
}

const std::vector<std::uint32_t> kRows{4, 0, 2, 2, 1, 3};

TEST(CodeDistance, Int8SumsAreTheIntegersOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : awkward_dimensions()) {
      Codes<std::int8_t> codes(5, d);
      Codes<std::int16_t> query(1, d);
      Random random(7, d);
      for (std::size_t r = 0; r < 5; ++r) {
        for (std::size_t i = 0; i < d; ++i) {
          codes.row(r)[i] = static_cast<std::int8_t>(random_integer(random, -128, 127));
        }
      }
      for (std::size_t i = 0; i < d; ++i) query.row(0)[i] = random_integer(random, -255, 255);
      for (std::size_t count = 0; count <= kRows.size(); ++count) {
        std::vector<float> l2(count), dot(count);
        l2_rows_int8()(codes.rows(), query.row(0), kRows.data(), count, 1, 0, l2.data());
        dot_rows_int8()(codes.rows(), query.row(0), kRows.data(), count, -2, 3, dot.data());
        for (std::size_t i = 0; i < count; ++i) {
          const std::int8_t* row = codes.row(kRows[i]);
          EXPECT_EQ(l2[i], static_cast<float>(reference::l2_int8(query.row(0), row, d)))
              << isa << " d=" << d;
          EXPECT_FLOAT_EQ(dot[i],
                          3 - 2 * static_cast<float>(reference::dot_int8(query.row(0), row, d)))
              << isa << " d=" << d;
        }
      }
      std::vector<std::int16_t> wide(codes.row(0), codes.row(0) + d);
      const auto bytes = [&](std::size_t r) { return reinterpret_cast<std::byte*>(codes.row(r)); };
      EXPECT_EQ(l2_pair_int8()(bytes(0), bytes(1), codes.width),
                static_cast<float>(reference::l2_int8(wide.data(), codes.row(1), d)));
      EXPECT_EQ(dot_pair_int8()(bytes(0), bytes(1), codes.width),
                static_cast<float>(reference::dot_int8(wide.data(), codes.row(1), d)));
    }
  });
}

// The greatest values a query may have do not overflow a sum, whatever the codes.
TEST(CodeDistance, QueryLimitsKeepSumsExactOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : {32U, 100U, 784U, 4096U, 65536U}) {
      Codes<std::int8_t> codes(1, d);
      Codes<std::int16_t> query(1, d);
      std::fill_n(codes.row(0), d, std::int8_t{-128});
      const std::uint32_t row = 0;
      float out = 0;
      std::fill_n(query.row(0), d, l2_query_limit(codes.width));
      l2_rows_int8()(codes.rows(), query.row(0), &row, 1, 1, 0, &out);
      EXPECT_EQ(out, static_cast<float>(reference::l2_int8(query.row(0), codes.row(0), d)))
          << isa << " d=" << d;
      for (const int sign : {1, -1}) {
        std::fill_n(query.row(0), d,
                    static_cast<std::int16_t>(sign * dot_query_limit(codes.width)));
        dot_rows_int8()(codes.rows(), query.row(0), &row, 1, 1, 0, &out);
        EXPECT_EQ(out, static_cast<float>(reference::dot_int8(query.row(0), codes.row(0), d)))
            << isa << " d=" << d;
      }
    }
  });
  EXPECT_GE(l2_query_limit(65536), 127);
  EXPECT_GE(dot_query_limit(65536), 127);
  EXPECT_LE(dot_query_limit(0), 32767);
}

TEST(CodeDistance, FloatRowsAgreeWithTheDoubleReferenceOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : awkward_dimensions()) {
      Codes<float> rows(5, d), query(1, d);
      Codes<Bf16> halves(5, d);
      Codes<F16> f16(5, d);
      Codes<std::int8_t> bytes8(5, d);
      Random random(9, d);
      for (std::size_t i = 0; i < d; ++i) {
        query.row(0)[i] = static_cast<float>(random.normal());
        for (std::size_t r = 0; r < 5; ++r) {
          rows.row(r)[i] = static_cast<float>(random.normal());
          halves.row(r)[i] = float_to_bf16(rows.row(r)[i]);
          f16.row(r)[i] = float_to_f16(rows.row(r)[i]);
          bytes8.row(r)[i] = static_cast<std::int8_t>(random_integer(random, -3, 3));
        }
      }
      const float* q = query.row(0);
      const double tolerance = 1e-5 * (1 + static_cast<double>(d));
      std::vector<float> out(kRows.size());
      const auto each = [&](RowsFn kernel, const CodeRows& codes, auto&& expected) {
        kernel(codes, q, kRows.data(), kRows.size(), 2, 1, out.data());
        for (std::size_t i = 0; i < kRows.size(); ++i) {
          EXPECT_NEAR(out[i], 1 + 2 * expected(kRows[i]), tolerance) << isa << " d=" << d;
        }
      };
      each(l2_rows_f32(), rows.rows(),
           [&](std::size_t r) { return reference::l2_squared(q, rows.row(r), d); });
      each(dot_rows_f32(), rows.rows(),
           [&](std::size_t r) { return reference::dot(q, rows.row(r), d); });
      each(l2_rows_bf16(), halves.rows(),
           [&](std::size_t r) { return reference::l2_bf16(q, halves.row(r), d); });
      each(dot_rows_bf16(), halves.rows(),
           [&](std::size_t r) { return reference::dot_bf16(q, halves.row(r), d); });
      each(l2_rows_f16(), f16.rows(),
           [&](std::size_t r) { return reference::l2_f16(q, f16.row(r), d); });
      each(dot_rows_f16(), f16.rows(),
           [&](std::size_t r) { return reference::dot_f16(q, f16.row(r), d); });
      each(l2_rows_int8_float(), bytes8.rows(), [&](std::size_t r) {
        const std::vector<float> row(bytes8.row(r), bytes8.row(r) + d);
        return reference::l2_squared(q, row.data(), d);
      });

      const auto bytes = [](auto* row) { return reinterpret_cast<std::byte*>(row); };
      std::vector<float> first(d);
      std::transform(halves.row(0), halves.row(0) + d, first.begin(), bf16_to_float);
      EXPECT_NEAR(l2_pair_f32()(bytes(rows.row(0)), bytes(rows.row(1)), rows.width),
                  reference::l2_squared(rows.row(0), rows.row(1), d), tolerance);
      EXPECT_NEAR(dot_pair_f32()(bytes(rows.row(0)), bytes(rows.row(1)), rows.width),
                  reference::dot(rows.row(0), rows.row(1), d), tolerance);
      EXPECT_NEAR(l2_pair_bf16()(bytes(halves.row(0)), bytes(halves.row(1)), halves.width),
                  reference::l2_bf16(first.data(), halves.row(1), d), tolerance);
      EXPECT_NEAR(dot_pair_bf16()(bytes(halves.row(0)), bytes(halves.row(1)), halves.width),
                  reference::dot_bf16(first.data(), halves.row(1), d), tolerance);
      std::transform(f16.row(0), f16.row(0) + d, first.begin(), f16_to_float);
      EXPECT_NEAR(l2_pair_f16()(bytes(f16.row(0)), bytes(f16.row(1)), f16.width),
                  reference::l2_f16(first.data(), f16.row(1), d), tolerance);
      EXPECT_NEAR(dot_pair_f16()(bytes(f16.row(0)), bytes(f16.row(1)), f16.width),
                  reference::dot_f16(first.data(), f16.row(1), d), tolerance);
    }
  });
}

TEST(CodeDistance, QuantisesToTheNearestAndClampsOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : awkward_dimensions()) {
      const Matrix x = test::random_matrix(1, d, 3 + d);
      std::vector<float> source(x.row(0), x.row(0) + d), offset(d, 0.25F);
      source.front() = 1e9F;
      source.back() = -1e9F;
      if (d > 2) source[1] = 0.35F;  // a tie: (.35 - .25) * 25 = 2.5
      std::vector<std::int8_t> codes(d + 1, 77);
      std::vector<std::int16_t> wide(d + 1, 77);
      quantise_int8(source.data(), offset.data(), 25, d, codes.data());
      quantise_int16(source.data(), offset.data(), 25, 1000, d, wide.data());
      for (std::size_t i = 0; i < d; ++i) {
        const float value = std::nearbyint((source[i] - 0.25F) * 25);
        EXPECT_EQ(codes[i], std::clamp(value, -128.0F, 127.0F)) << isa << " d=" << d;
        EXPECT_EQ(wide[i], std::clamp(value, -1000.0F, 1000.0F)) << isa << " d=" << d;
      }
      EXPECT_EQ(codes[d], 77);
      EXPECT_EQ(wide[d], 77);
    }
  });
}

}  // namespace
}  // namespace halo::kernels
