// Named float tensors in the safetensors format, which PyTorch and others read and write.
//
// Layout: u64 length of the header; a JSON header {"__metadata__": {text: text}, name: {"dtype",
// "shape", "data_offsets": [begin, end)}}; the tensors' bytes, little endian, without holes or
// overlaps. Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/integration/io/file.h"

namespace halo::io {

struct NamedTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  ///< empty for a scalar
  std::vector<float> values;         ///< row-major
};

struct TensorFile {
  std::map<std::string, std::string> metadata;
  std::vector<NamedTensor> tensors;  ///< in the order of their bytes

  /// Throws kUnsupportedFormat, naming it, where there is no such tensor.
  const NamedTensor& at(std::string_view name) const;
  void add(std::string name, const MatrixView& values);       ///< shape [rows, cols]
  void add(std::string name, std::span<const float> values);  ///< shape [size]
};

/// Reads F32, and F16, BF16 and F64 converted to it. Every size is checked against the file before
/// memory is allocated for it. Throws kNotFound, kIo, kUnsupportedFormat (other elements), kCorrupt
/// (truncated, garbled, holes, overlaps, or a shape that does not fit its bytes).
TensorFile read_safetensors(const std::filesystem::path& path,
                            const FileSystem& file_system = posix_file_system());

/// Writes F32, atomically (atomic_write.h). Throws kInvalidArgument for a shape that does not fit
/// its values, a name given twice or one that is "__metadata__".
void write_safetensors(const std::filesystem::path& path, const TensorFile& tensors,
                       const FileSystem& file_system = posix_file_system());

}  // namespace halo::io
