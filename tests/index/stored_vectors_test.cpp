// Vectors kept as halves or bytes: what searches answer, and what is the same as with floats.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "halo/core/half_matrix.h"
#include "halo/core/random.h"
#include "halo/index/exact_search.h"
#include "halo/index/live_index.h"
#include "halo/index/memory_estimate.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/range_search.h"
#include "halo/index/recall.h"
#include "halo/index/search_cursor.h"
#include "halo/index/snapshot_search.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;

Matrix whole(std::size_t n, std::size_t d, std::uint64_t seed) {
  Matrix data = test::clustered_matrix(n, d, 20, 0.6F, seed);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      data.row(i)[j] = std::round(std::clamp(data.row(i)[j] * 30 + 128, 0.0F, 255.0F));
    }
  }
  return data;
}

std::shared_ptr<const GraphSnapshot> snapshot_as(const MatrixView& data, Metric metric,
                                                 std::optional<CodeKind> codes,
                                                 std::optional<CodeKind> stored) {
  BuildOptions options = test::build_options(metric);
  options.codes = codes;
  options.stored = stored;
  return test::snapshot_of(data, options);
}

SearchResults search_all(const GraphSnapshot& index, const MatrixView& queries, std::size_t ef) {
  SearchOptions options;
  options.ef = ef;
  return search_batch(index, queries, options, Executor(2));
}

TEST(StoredVectors, RoundedOnesLoseNoRecall) {
  const Matrix data = test::clustered_matrix(2000, 21, 20, 0.6F, 1);
  const Matrix queries = test::clustered_matrix(200, 21, 20, 0.6F, 2);
  for (const Metric metric : test::kMetrics) {
    const auto plain = snapshot_as(data, metric, CodeKind::kInt8, CodeKind::kF32);
    const SearchResults truth = exact_search_batch(*plain, queries, {}, Executor(2));
    for (const CodeKind kind : {CodeKind::kBf16, CodeKind::kF16}) {
      const auto stored = plain->with_vectors_as(kind);
      EXPECT_EQ(stored->stored(), kind);
      EXPECT_EQ(stored->codes().kind(), CodeKind::kInt8);
      EXPECT_EQ(stored->memory_usage().vectors, 2000U * 64);
      for (const std::size_t ef : {16U, 64U}) {
        // bf16 keeps 8 bits: neighbours that lie closer than that change places.
        EXPECT_GE(recall_at(10, search_all(*stored, queries, ef), truth),
                  recall_at(10, search_all(*plain, queries, ef), truth) -
                      (kind == CodeKind::kF16 ? 0.002 : 0.02))
            << metric_name(metric) << " " << code_kind_name(kind) << " " << ef;
      }
    }
  }
}

// Distances are those of the rounded vectors, whichever way a vector is found.
TEST(StoredVectors, DistancesAreThoseOfWhatIsKept) {
  const Matrix data = test::clustered_matrix(600, 19, 10, 0.6F, 3);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    for (const CodeKind kind : {CodeKind::kBf16, CodeKind::kF16}) {
      const auto stored = snapshot_as(data, metric, CodeKind::kInt8, kind);
      const auto floats = stored->with_vectors_as(CodeKind::kF32);
      EXPECT_EQ(floats->stored(), CodeKind::kF32);
      std::vector<float> copy(19);
      for (Node node = 0; node < 600; ++node) {
        stored->copy_vector(node, copy);
        const auto row = floats->vector(node);
        ASSERT_TRUE(std::equal(copy.begin(), copy.end(), row.begin()));
      }
      const auto queries = data.view().sub_rows(0, 40);
      const SearchResults a = search_all(*stored, queries, 40),
                          b = search_all(*floats, queries, 40),
                          c = exact_search_batch(*stored, queries, {}, executor);
      for (std::size_t q = 0; q < 40; ++q) {
        ASSERT_EQ(a.found[q], 10U);
        for (std::size_t i = 0; i < 10; ++i) {
          EXPECT_EQ(a.of(q)[i].node, b.of(q)[i].node);
          EXPECT_NEAR(a.of(q)[i].distance, b.of(q)[i].distance, 1e-5);
          // A walk may miss one; what it finds has the exact distance.
          for (const Neighbour& exact : c.of(q)) {
            if (exact.node == a.of(q)[i].node) {
              EXPECT_EQ(exact, a.of(q)[i]);
            }
          }
        }
        std::vector<Neighbour> one(10);
        exact_search(*stored, queries.row_span(q), {}, one);
        EXPECT_TRUE(std::equal(one.begin(), one.end(), c.of(q).begin()));
        const auto within = exact_range_search(stored, queries.row_span(q), {one[4].distance});
        EXPECT_TRUE(std::equal(within.begin(), within.begin() + 5, one.begin()));
      }
      EXPECT_EQ(stored->with_vectors_as(kind)->kept().data(), stored->kept().data());
    }
  }
}

// Bytes under l2: one array is walked on and answers exactly, and every answer is that of floats.
TEST(StoredVectors, BytesAreFloat32) {
  const Matrix data = whole(1500, 40, 4);
  const auto plain = snapshot_as(data, Metric::kL2, CodeKind::kInt8, CodeKind::kF32);
  const auto bytes = snapshot_as(data, Metric::kL2, CodeKind::kInt8, CodeKind::kInt8);
  EXPECT_EQ(bytes->stored(), CodeKind::kInt8);
  EXPECT_EQ(bytes->kept().data(), bytes->codes().data());
  EXPECT_EQ(bytes->memory_usage().vectors, 0U);
  EXPECT_EQ(bytes->memory_usage().codes, 1500U * 64);
  EXPECT_TRUE(test::same_parts(*plain, *bytes->with_vectors_as(CodeKind::kF32)));

  const Matrix queries = whole(60, 40, 5);
  for (const std::size_t ef : {10U, 40U}) {
    EXPECT_EQ(search_all(*bytes, queries, ef).neighbours,
              search_all(*plain, queries, ef).neighbours);
  }
  EXPECT_EQ(exact_search_batch(*bytes, queries, {}, Executor(2)).neighbours,
            exact_search_batch(*plain, queries, {}, Executor(2)).neighbours);
  const CsrMask windows = neighbour_windows(*bytes, 12, Executor(2)),
                expected = neighbour_windows(*plain, 12, Executor(2));
  EXPECT_TRUE(std::ranges::equal(windows.columns(), expected.columns()));
  EXPECT_EQ(neighbour_window(*bytes, 7, 12), neighbour_window(*plain, 7, 12));

  SearchCursor a(bytes, queries.row_span(0), {}), b(plain, queries.row_span(0), {});
  std::vector<Neighbour> pages[2] = {std::vector<Neighbour>(30), std::vector<Neighbour>(30)};
  for (int page = 0; page < 3; ++page) {
    EXPECT_EQ(a.next(pages[0]), b.next(pages[1]));
    EXPECT_EQ(pages[0], pages[1]);
  }
}

// A query between the whole numbers, or far outside, is not rounded.
TEST(StoredVectors, BytesAnswerAnyQueryExactly) {
  const Matrix data = whole(1500, 33, 6);
  const auto plain = snapshot_as(data, Metric::kL2, CodeKind::kInt8, CodeKind::kF32);
  const auto bytes = plain->with_vectors_as(CodeKind::kInt8);
  Matrix queries = Matrix::copy_of(data.view().sub_rows(0, 30));
  Random random(8);
  for (std::size_t q = 0; q < 30; ++q) {
    for (std::size_t i = 0; i < 33; ++i) {
      queries.row(q)[i] += static_cast<float>(random.uniform()) * (q < 20 ? 1.0F : 1e5F);
    }
  }
  const SearchResults a = exact_search_batch(*bytes, queries, {}, Executor(2)),
                      b = exact_search_batch(*plain, queries, {}, Executor(2)),
                      c = search_all(*bytes, queries, 400);
  for (std::size_t q = 0; q < 30; ++q) {
    for (std::size_t i = 0; i < 10; ++i) {
      EXPECT_NEAR(a.of(q)[i].distance, b.of(q)[i].distance, 1e-5 * b.of(q)[i].distance);
      if (q >= 20) continue;  // the distances of far queries differ in their last bits only
      EXPECT_EQ(a.of(q)[i].node, b.of(q)[i].node);
      for (const Neighbour& found : c.of(q)) {
        if (found.node == a.of(q)[i].node) {
          EXPECT_EQ(found, a.of(q)[i]);
        }
      }
    }
  }
}

TEST(StoredVectors, SignedBytesToo) {
  Matrix data = whole(300, 10, 9);
  for (std::size_t i = 0; i < 300; ++i) {
    for (std::size_t j = 0; j < 10; ++j) data.row(i)[j] -= 128;
  }
  const auto bytes = snapshot_as(data, Metric::kL2, CodeKind::kF32, CodeKind::kInt8);
  const auto plain = bytes->with_vectors_as(CodeKind::kF32);
  EXPECT_EQ(search_all(*bytes, data, 30).neighbours, search_all(*plain, data, 30).neighbours);
}

TEST(StoredVectors, AutoKeepsBytesAsBytesOnly) {
  const Matrix bytes = whole(10000, 8, 11);
  EXPECT_EQ(snapshot_as(bytes, Metric::kL2, std::nullopt, std::nullopt)->stored(), CodeKind::kInt8);
  EXPECT_EQ(snapshot_as(bytes, Metric::kL2, std::nullopt, CodeKind::kF32)->stored(),
            CodeKind::kF32);
  EXPECT_EQ(snapshot_as(bytes, Metric::kCosine, std::nullopt, std::nullopt)->stored(),
            CodeKind::kF32);
  const auto few = bytes.view().sub_rows(0, 500);
  EXPECT_EQ(snapshot_as(few, Metric::kL2, std::nullopt, std::nullopt)->stored(), CodeKind::kF32);
}

TEST(StoredVectors, WhatWouldBeLostIsRefused) {
  const Matrix data = whole(100, 8, 12);
  const auto cosine = snapshot_as(data, Metric::kCosine, std::nullopt, std::nullopt);
  expect_error(ErrorCode::kInvalidArgument, "int8 only under l2",
               [&] { cosine->with_vectors_as(CodeKind::kInt8); });
  Matrix large = Matrix::copy_of(data);
  large.row(3)[2] = 256;
  const auto l2 = snapshot_as(large, Metric::kL2, std::nullopt, std::nullopt);
  expect_error(ErrorCode::kInvalidArgument, "whole numbers",
               [&] { l2->with_vectors_as(CodeKind::kInt8); });
  large.row(3)[2] = 70000;
  expect_error(ErrorCode::kInvalidArgument, "id 3 has values beyond",
               [&] { snapshot_as(large, Metric::kL2, std::nullopt, CodeKind::kF16); });
  expect_error(ErrorCode::kInvalidArgument, "unknown kind",
               [&] { l2->with_vectors_as(static_cast<CodeKind>(9)); });
  BuildOptions options;
  options.stored = static_cast<CodeKind>(9);
  expect_error(ErrorCode::kInvalidArgument, "unknown kind", [&] { options.validate(); });
  const auto lean = l2->with_codes(CodeKind::kInt8)->without_vectors();
  expect_error(ErrorCode::kNotPrepared, "codes only",
               [&] { lean->with_vectors_as(CodeKind::kF32); });
  expect_error(ErrorCode::kNotPrepared, "as bf16",
               [&] { l2->with_vectors_as(CodeKind::kBf16)->vectors(); });
}

// A live index goes on from bytes, also with vectors that are none.
TEST(StoredVectors, LiveIndexesGoOn) {
  const Matrix data = whole(10200, 8, 13);
  const Executor executor(2);
  LiveOptions options;
  options.background = false;
  const auto sealed = snapshot_as(data.view().sub_rows(0, 10000), Metric::kL2, std::nullopt, {});
  ASSERT_EQ(sealed->stored(), CodeKind::kInt8);
  LiveIndex index(sealed, options);
  std::vector<Id> more(200);
  for (std::size_t i = 0; i < 200; ++i) more[i] = static_cast<Id>(10000 + i);
  index.add(data.view().sub_rows(10000, 200), more);
  index.remove(std::vector<Id>{5, 10007});
  const auto next = index.seal(executor);
  EXPECT_EQ(next->stored(), CodeKind::kInt8);
  EXPECT_EQ(next->size(), 10198U);
  const auto vector = index.view().vector(10003);
  ASSERT_TRUE(vector);
  EXPECT_TRUE(std::equal(vector->begin(), vector->end(), data.row(10003)));

  Matrix half(1, 8);
  std::fill_n(half.row(0), 8, 0.5F);
  index.add(half, std::vector<Id>{20000});
  const auto last = index.seal(executor);
  EXPECT_EQ(last->stored(), CodeKind::kF32);
  EXPECT_EQ(last->size(), 10199U);
  EXPECT_EQ(last->vector(last->find(20000).value())[3], 0.5F);
}

TEST(StoredVectors, EstimatesCountThem) {
  BuildOptions options;
  options.codes = CodeKind::kInt8;
  for (const CodeKind kind : {CodeKind::kF32, CodeKind::kBf16, CodeKind::kF16}) {
    options.stored = kind;
    const std::size_t width = kind == CodeKind::kF32 ? 64 * 4 : 64 * 2;
    EXPECT_EQ(estimate_memory(1000, 64, options).vectors, 1000 * width);
  }
  options.stored = CodeKind::kInt8;
  EXPECT_EQ(estimate_memory(1000, 64, options).vectors, 0U);
}

}  // namespace
}  // namespace halo
