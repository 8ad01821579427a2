#include "halo/integration/io/png.h"

#include <png.h>

#include <string>
#include <vector>

#include "halo/integration/io/atomic_write.h"

namespace halo::io {

void write_png(const std::filesystem::path& path, std::size_t width, std::size_t height,
               std::size_t channels, std::span<const std::uint8_t> pixels,
               const FileSystem& file_system) {
  constexpr std::size_t kMaxSide = 65535;
  if (width == 0 || height == 0 || width > kMaxSide || height > kMaxSide ||
      (channels != 1 && channels != 3) || pixels.size() != width * height * channels) {
    throw Error(ErrorCode::kInvalidArgument,
                "a picture of " + std::to_string(width) + " x " + std::to_string(height) + " x " +
                    std::to_string(channels) + " cannot be written from " +
                    std::to_string(pixels.size()) + " bytes");
  }
  // libpng's simplified interface reports errors without longjmp.
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<std::byte> file(PNG_IMAGE_PNG_SIZE_MAX(image));
  png_alloc_size_t size = file.size();
  const auto stride = static_cast<png_int_32>(width * channels);
  if (png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), stride, nullptr) ==
      0) {
    throw Error(ErrorCode::kInternal, "libpng: " + std::string(image.message));
  }
  atomic_write(file_system, path,
               [&](Output& output) { output.write(std::span<const std::byte>(file).first(size)); });
}

}  // namespace halo::io
