#include "halo/integration/io/mask_png.h"

#include "halo/attention/sparse_mask.h"
#include "halo/integration/io/png.h"

namespace halo::io {

void write_mask_png(const std::filesystem::path& path, const CsrView& mask, std::size_t max_side,
                    const FileSystem& file_system) {
  const auto picture = attention::SparseMask::visualize_picture(mask, max_side);
  write_png(path, picture.width, picture.height, 1, picture.pixels, file_system);
}

}  // namespace halo::io
