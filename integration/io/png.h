// Pictures (masks, attention weights) as PNG files.
//
// Thread-safety: a pure function.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "halo/integration/io/file.h"

namespace halo::io {

/// Writes `width` x `height` pixels, top row first, of 1 (grey) or 3 (red, green, blue) bytes each,
/// without padding. Atomic; the same pixels give the same bytes. Throws kInvalidArgument for a size
/// of zero, beyond 65,535 or other than that of `pixels`, and what atomic_write() throws.
void write_png(const std::filesystem::path& path, std::size_t width, std::size_t height,
               std::size_t channels, std::span<const std::uint8_t> pixels,
               const FileSystem& file_system = posix_file_system());

}  // namespace halo::io
