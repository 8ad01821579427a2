#include "halo/integration/io/idx.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "halo/integration/io/elements.h"
#include "halo/integration/io/gzip.h"

namespace halo::io {

namespace fs = std::filesystem;

namespace {

constexpr std::byte kUnsignedByte{0x08};
constexpr std::size_t kMaxBuffer = std::size_t{1} << 20;
constexpr std::uint64_t kSuspiciousRatio = 32;  // pictures shrink to a half, sparse ones to a tenth

std::unique_ptr<ByteSource> source_of(const FileSystem& file_system, const fs::path& path) {
  const std::string name = path.filename().string();
  const bool gzipped = name.size() > 3 && name[name.size() - 3] == '.' &&
                       std::tolower(static_cast<unsigned char>(name[name.size() - 2])) == 'g';
  return gzipped ? gzip_source(file_system, path) : plain_source(file_system, path);
}

struct Shape {
  std::size_t rank = 0;
  std::uint64_t rows = 0;
  std::uint64_t cols = 1;
};

Shape read_shape(ByteSource& source, const fs::path& path) {
  std::array<std::byte, 4> word;
  source.read(word);
  if (word[0] != std::byte{0} || word[1] != std::byte{0}) {
    fail(ErrorCode::kUnsupportedFormat, path, "not an IDX file");
  }
  if (word[2] != kUnsignedByte) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "IDX elements of type " + std::to_string(std::to_integer<int>(word[2])) +
             " are not read, only unsigned bytes (8)");
  }
  Shape shape;
  shape.rank = std::to_integer<std::size_t>(word[3]);
  for (std::size_t i = 0; i < shape.rank; ++i) {
    source.read(word);
    std::uint64_t size = 0;
    for (const std::byte b : word) size = size << 8 | std::to_integer<std::uint64_t>(b);
    if (i == 0) {
      shape.rows = size;
    } else {
      shape.cols = checked_size(path, shape.cols, size, 1);
    }
  }
  if (checked_size(path, shape.rows, shape.cols, 1) > source.most_bytes()) {
    fail(ErrorCode::kCorrupt, path,
         "the header promises " + std::to_string(shape.rows) + " x " + std::to_string(shape.cols) +
             " bytes, which a file of this length cannot hold");
  }
  return shape;
}

/// Opens the file and reads its shape. Memory for what a header promises is a caller's to allocate:
/// where that is many times the file's length, the contents are inflated to nowhere first.
std::pair<std::unique_ptr<ByteSource>, Shape> open(const FileSystem& file_system,
                                                   const fs::path& path) {
  auto source = source_of(file_system, path);
  const Shape shape = read_shape(*source, path);
  const std::uint64_t promised = shape.rows * shape.cols;
  if (promised / kSuspiciousRatio > source->file_bytes()) {
    std::vector<std::byte> buffer(kMaxBuffer);
    for (std::uint64_t left = promised; left > 0;) {
      const auto chunk = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), left));
      source->read(chunk);
      left -= chunk.size();
    }
    source->expect_end();
    source = source_of(file_system, path);
    read_shape(*source, path);
  }
  return {std::move(source), shape};
}

}  // namespace

Matrix read_idx_vectors(const FileSystem& file_system, const fs::path& path) {
  const auto [source, shape] = open(file_system, path);
  if (shape.rank < 2) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "vectors need 2 dimensions or more, this file has " + std::to_string(shape.rank));
  }
  Matrix matrix(shape.rows, shape.cols);
  const std::span<float> values(matrix.data(), shape.rows * shape.cols);
  std::vector<std::byte> buffer(std::min(kMaxBuffer, values.size()));
  for (std::size_t done = 0; done < values.size();) {
    const auto chunk = std::span(buffer).first(std::min(buffer.size(), values.size() - done));
    source->read(chunk);
    convert(chunk, ElementType::kU1, values.subspan(done, chunk.size()));
    done += chunk.size();
  }
  source->expect_end();
  return matrix;
}

std::vector<std::int64_t> read_idx_labels(const FileSystem& file_system, const fs::path& path) {
  const auto [source, shape] = open(file_system, path);
  if (shape.rank != 1) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "labels need 1 dimension, this file has " + std::to_string(shape.rank));
  }
  std::vector<std::byte> bytes(shape.rows);
  source->read(bytes);
  source->expect_end();
  std::vector<std::int64_t> labels(bytes.size());
  convert(path, bytes, ElementType::kU1, labels);
  return labels;
}

}  // namespace halo::io
