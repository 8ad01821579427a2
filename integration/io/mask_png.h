// A mask as a PNG picture.
//
// Thread-safety: a pure function.
#pragma once

#include <cstddef>
#include <filesystem>

#include "halo/core/csr_mask.h"
#include "halo/integration/io/file.h"

namespace halo::io {

/// The whole mask as a grey picture, scaled down so that no side exceeds `max_side`
/// (attention::SparseMask::visualize_picture): black where nothing is stored. Throws
/// kInvalidArgument for max_side 0 or a mask without rows or columns, and what write_png() throws.
/// O(entries + pixels).
void write_mask_png(const std::filesystem::path& path, const CsrView& mask,
                    std::size_t max_side = 512,
                    const FileSystem& file_system = posix_file_system());

}  // namespace halo::io
