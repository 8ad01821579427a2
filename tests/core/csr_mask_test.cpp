#include "halo/core/csr_mask.h"

#include <gtest/gtest.h>

#include <set>

#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo {
namespace {

using Pairs = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
using test::expect_error;

TEST(CsrMask, EmptyMaskHasNoRows) {
  const CsrMask mask;
  EXPECT_EQ(mask.rows(), 0U);
  EXPECT_EQ(mask.entries(), 0U);
  EXPECT_EQ(mask.density(), 0.0);
}

TEST(CsrMask, RefusesBrokenInvariants) {
  using Offsets = std::vector<std::uint64_t>;
  using Columns = std::vector<std::uint32_t>;
  const auto refused = [](Offsets offsets, Columns columns, std::size_t n, const char* text) {
    expect_error(ErrorCode::kInvalidArgument, text, [&] { CsrMask(offsets, columns, n); });
  };
  refused({}, {}, 3, "row_offsets");
  refused({1, 1}, {0}, 3, "row_offsets");
  refused({0, 2}, {0}, 3, "row_offsets");
  refused({0, 2, 1, 2}, {0, 1}, 3, "descend");
  refused({0, 9, 2}, {0, 1}, 3, "descend");
  refused({0, 2}, {1, 1}, 3, "ascending");
  refused({0, 2}, {2, 1}, 3, "ascending");
  refused({0, 1}, {3}, 3, "names column 3 of 3");
  refused({0}, {}, std::size_t{1} << 33, "32-bit");
}

TEST(CsrMask, PairsRowsTransposeAndUnionAgreeWithASet) {
  Random random(7);
  for (int round = 0; round < 50; ++round) {
    const std::size_t rows = random.below(12), columns = 1 + random.below(12);
    const auto draw = [&] {
      Pairs pairs(rows == 0 ? 0 : random.below(60));
      for (auto& [r, c] : pairs) {
        r = static_cast<std::uint32_t>(random.below(rows));
        c = static_cast<std::uint32_t>(random.below(columns));
      }
      return pairs;
    };
    const Pairs a = draw(), b = draw();
    const std::set<Pairs::value_type> set_a(a.begin(), a.end());
    std::set<Pairs::value_type> set_union(a.begin(), a.end());
    set_union.insert(b.begin(), b.end());

    const CsrMask mask = CsrMask::from_pairs(rows, columns, a);
    const CsrMask both = CsrMask::union_of(mask, CsrMask::from_pairs(rows, columns, b));
    EXPECT_EQ(mask.entries(), set_a.size());
    EXPECT_EQ(both.entries(), set_union.size());
    std::vector<std::vector<std::uint32_t>> lists(rows);
    for (const auto& [r, c] : a) lists[r].push_back(c);
    EXPECT_EQ(CsrMask::from_rows(lists, columns), mask);
    const CsrMask transposed = mask.transposed();
    for (std::uint32_t r = 0; r < rows; ++r) {
      for (std::uint32_t c = 0; c < columns; ++c) {
        EXPECT_EQ(mask.contains(r, c), set_a.contains({r, c}));
        EXPECT_EQ(transposed.contains(c, r), set_a.contains({r, c}));
        EXPECT_EQ(both.contains(r, c), set_union.contains({r, c}));
      }
    }
    EXPECT_EQ(transposed.transposed(), mask);
  }
}

TEST(CsrMask, RefusesPairsAndUnionsOutsideTheShape) {
  const Pairs row_too_high{{2, 0}};
  expect_error(ErrorCode::kInvalidArgument, "row 2 of 2",
               [&] { CsrMask::from_pairs(2, 2, row_too_high); });
  const CsrMask small = CsrMask::from_pairs(1, 2, {}), large = CsrMask::from_pairs(2, 2, {});
  expect_error(ErrorCode::kInvalidArgument, "equal shapes",
               [&] { CsrMask::union_of(small, large); });
}

TEST(CsrMask, DensityIsTheStoredShare) {
  const Pairs pairs{{0, 0}, {1, 1}, {1, 2}};
  EXPECT_DOUBLE_EQ(CsrMask::from_pairs(2, 3, pairs).density(), 0.5);
}

}  // namespace
}  // namespace halo
