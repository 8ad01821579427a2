// Every truncation and every bit flip of whole indexes, plain, refined and trained, of a
// safetensors file and of a compressed one: a typed error each time. Where a format has no checksum
// a flip may also give well-formed data; nothing ever crashes.
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <string>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/model_io.h"
#include "halo/integration/io/model_tensors.h"
#include "halo/integration/io/safetensors.h"
#include "halo/integration/io/snapshot_io.h"
#include "halo/integration/io/trained_io.h"
#include "halo/integration/train.h"
#include "integration/io/load.h"

namespace halo::io {
namespace {

using test::Bytes;
using test::MemoryFileSystem;

Engine small_engine(std::size_t rows, std::size_t dim, bool with_models) {
  const Executor executor(1);
  BuildOptions build;
  build.M = 3;
  build.codes = CodeKind::kInt8;
  const Engine plain =
      Engine::build(halo::test::clustered_matrix(rows, dim, 3, 0.5F, 3), {}, build, executor);
  if (!with_models) return plain;
  gnn::RefineOptions refine;
  refine.spectral_rank = 2;
  refine.structure.kept = 16;
  const Engine refined = plain.refined(refine, executor);
  Matrix basis = Matrix::padded(1, dim);
  basis.row(0)[0] = 1;
  std::vector<std::uint32_t> labels(rows);
  for (std::uint32_t i = 0; i < rows; ++i) labels[i] = i % 3;
  return refined.with_trained(prepare_trained(
      *refined.snapshot(), {"pca", gnn::Projection(std::vector<float>(dim), std::move(basis))},
      labels, 3, executor));
}

Bytes saved(const Engine& engine) {
  MemoryFileSystem memory;
  BundleWriter writer;
  write_snapshot(writer, *engine.snapshot());
  if (engine.model()) write_model(writer, *engine.model());
  if (engine.trained()) write_trained(writer, *engine.trained());
  writer.write("file", {}, memory);
  return memory.get("file");
}

/// As Engine::load(): a section's checksum is checked when it is read.
void load(const FileSystem& file_system) {
  const BundleReader reader("file", BundleReader::Check::kStructure, file_system);
  const auto snapshot = read_snapshot(reader);
  const Engine engine(snapshot, read_model(reader), read_trained(reader));
}

/// As `halo verify` begins: every checksum.
void check_everything(const FileSystem& file_system) {
  const BundleReader reader("file", BundleReader::Check::kEverything, file_system);
}

using Read = std::function<void(const FileSystem&)>;

/// True where the bytes were refused, as they may be.
bool refused(const Read& read, Bytes bytes) {
  const MemoryFileSystem memory("file", std::move(bytes));
  try {
    read(memory);
    return false;
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kCorrupt ||
                error.code() == ErrorCode::kUnsupportedFormat)
        << error.what();
    return true;
  }
}

void refuse_every_truncation(const Bytes& bytes, const Read& read) {
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(length);
    ASSERT_TRUE(refused(read, Bytes(bytes.begin(), end))) << length;
  }
}

/// Returns how many flips were not refused.
std::size_t flip_every_bit(Bytes bytes, const Read& read) {
  std::size_t accepted = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    bytes[bit / 8] ^= mask;
    accepted += refused(read, bytes) ? 0 : 1;
    bytes[bit / 8] ^= mask;
  }
  return accepted;
}

void refuse_all(const Engine& engine, const Read& read) {
  const Bytes bytes = saved(engine);
  EXPECT_LE(bytes.size(), std::size_t{64} << 10);
  ASSERT_FALSE(refused(read, bytes));
  refuse_every_truncation(bytes, read);
  EXPECT_EQ(flip_every_bit(bytes, read), 0u);
  std::printf("%zu truncations and %zu bit flips of an index of %zu bytes, all refused\n",
              bytes.size(), bytes.size() * 8, bytes.size());
}

TEST(EveryDamage, OfAPlainIndexIsRefused) { refuse_all(small_engine(16, 3, false), load); }

TEST(EveryDamage, OfARefinedIndexIsRefused) {
  const Engine engine = small_engine(16, 3, true);
  refuse_all(Engine(engine.snapshot(), engine.model()), load);
}

TEST(EveryDamage, OfATrainedIndexIsRefused) {
  const Engine engine = small_engine(16, 3, true);
  refuse_all(Engine(engine.snapshot(), nullptr, engine.trained()), load);
}

TEST(EveryDamage, OfALargerIndexWithEverythingIsRefused) {
  refuse_all(small_engine(110, 12, true), check_everything);
}

TEST(EveryDamage, OfSafetensorsIsRefusedOrWellFormed) {
  const Engine engine = small_engine(16, 3, true);
  MemoryFileSystem memory;
  export_model("file", *engine.trained(), memory);
  const Bytes bytes = memory.get("file");
  const Read read = [&](const FileSystem& file_system) {
    const TensorFile file = read_safetensors("file", file_system);
    for (const NamedTensor& tensor : file.tensors) {
      std::uint64_t elements = 1;
      for (const std::uint64_t extent : tensor.shape) elements *= extent;
      ASSERT_EQ(elements, tensor.values.size());
    }
  };
  ASSERT_FALSE(refused(read, bytes));
  refuse_every_truncation(bytes, read);
  const std::size_t accepted = flip_every_bit(bytes, read);
  EXPECT_LT(accepted, bytes.size() * 8);
  std::printf("%zu truncations refused; of %zu bit flips %zu refused, the others well-formed\n",
              bytes.size(), bytes.size() * 8, bytes.size() * 8 - accepted);
}

/// gzip has a checksum of the contents, none of its own header.
TEST(EveryDamage, OfGzipIsRefusedOrChangesNothing) {
  using test::gzip;
  using test::idx;
  Bytes pixels(400);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::byte(i * i % 251);
  const Bytes bytes = gzip(idx({4, 10, 10}, pixels));
  const Read read = [&](const FileSystem& file_system) {
    const MemoryFileSystem& memory = dynamic_cast<const MemoryFileSystem&>(file_system);
    const Matrix matrix = test::vectors_in("a-ubyte.gz", memory.get("file"));
    ASSERT_EQ(matrix.rows() * matrix.cols(), pixels.size());
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      ASSERT_EQ(matrix.row(i / 100)[i % 100], static_cast<float>(pixels[i]));
    }
  };
  ASSERT_FALSE(refused(read, bytes));
  refuse_every_truncation(bytes, read);
  EXPECT_LE(flip_every_bit(bytes, read), 10u * 8u);  // all within the header
}

}  // namespace
}  // namespace halo::io
