#include "halo/integration/io/png.h"

#include <gtest/gtest.h>
#include <png.h>

#include <limits>

#include "integration/io/faulty_file_system.h"
#include "integration/io/load.h"

namespace halo::io::test {
namespace {

using halo::test::expect_error;

/// The picture's pixels, as libpng reads them back.
std::vector<std::uint8_t> pixels_of(const Bytes& file, std::size_t width, std::size_t height,
                                    png_uint_32 format) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  EXPECT_NE(png_image_begin_read_from_memory(&image, file.data(), file.size()), 0);
  EXPECT_EQ(image.width, width);
  EXPECT_EQ(image.height, height);
  EXPECT_EQ(image.format, format);
  std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(image));
  EXPECT_NE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr), 0);
  return pixels;
}

TEST(Png, RoundTrips) {
  for (const std::size_t channels : {1, 3}) {
    for (const auto& [width, height] :
         {std::pair<std::size_t, std::size_t>(1, 1), {7, 3}, {640, 200}, {1, 999}}) {
      std::vector<std::uint8_t> pixels(width * height * channels);
      for (std::size_t i = 0; i < pixels.size(); ++i) {
        pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 11);
      }
      MemoryFileSystem memory;
      write_png("a.png", width, height, channels, pixels, memory);
      EXPECT_EQ(pixels_of(memory.get("a.png"), width, height,
                          channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB),
                pixels);
      MemoryFileSystem again;
      write_png("a.png", width, height, channels, pixels, again);
      EXPECT_EQ(memory.get("a.png"), again.get("a.png"));
    }
  }
}

TEST(Png, RefusesImpossiblePictures) {
  MemoryFileSystem memory;
  const std::vector<std::uint8_t> twelve(12);
  constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max();
  const std::size_t shapes[][3] = {{0, 4, 1}, {4, 0, 1}, {2, 2, 2},     {2, 2, 4},
                                   {4, 4, 1}, {2, 3, 1}, {65536, 1, 1}, {kHuge, 4, 3}};
  for (const auto& [width, height, channels] : shapes) {
    expect_error(ErrorCode::kInvalidArgument, "picture", [&, w = width, h = height, c = channels] {
      write_png("a.png", w, h, c, twelve, memory);
    });
  }
  EXPECT_EQ(memory.count(), 0u);
}

TEST(Png, KeepsTheOldFileOnAFullDisk) {
  const MemoryFileSystem memory("a.png", bytes_of("old"));
  const std::vector<std::uint8_t> pixels(12);
  const FaultyFileSystem full(memory, 2, FaultyFileSystem::Fault::kNoSpace);
  expect_error(ErrorCode::kNoSpace, "a.png", [&] { write_png("a.png", 2, 2, 3, pixels, full); });
  EXPECT_EQ(memory.get("a.png"), bytes_of("old"));
}

}  // namespace
}  // namespace halo::io::test
