#include "halo/integration/io/mask_png.h"

#include <gtest/gtest.h>

#include "halo/attention/sparse_mask.h"
#include "halo/integration/io/png.h"
#include "integration/io/load.h"

namespace halo::io::test {
namespace {

using halo::test::expect_error;

TEST(MaskPng, IsThePictureOfTheMask) {
  const CsrMask mask = attention::SparseMask::local_window(900, 20);
  MemoryFileSystem memory;
  write_mask_png("mask.png", mask, 64, memory);
  const auto picture = attention::SparseMask::visualize_picture(mask, 64);
  ASSERT_EQ(picture.width, 64U);
  write_png("same.png", picture.width, picture.height, 1, picture.pixels, memory);
  EXPECT_EQ(memory.get("mask.png"), memory.get("same.png"));
}

TEST(MaskPng, RefusesNoPicture) {
  MemoryFileSystem memory;
  expect_error(ErrorCode::kInvalidArgument, "max_side", [&] {
    write_mask_png("a.png", attention::SparseMask::local_window(3, 1), 0, memory);
  });
  expect_error(ErrorCode::kInvalidArgument, "",
               [&] { write_mask_png("a.png", CsrMask(), 8, memory); });
}

}  // namespace
}  // namespace halo::io::test
