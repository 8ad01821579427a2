#include "halo/integration/io/snapshot_io.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <string>

#include "halo/core/executor.h"
#include "halo/core/random.h"
#include "halo/index/vector_index.h"
#include "integration/io/memory_file_system.h"
#include "support/test_support.h"

namespace halo::io {
namespace {

using halo::test::expect_error;
using test::Bytes;
using test::MemoryFileSystem;

std::shared_ptr<const GraphSnapshot> build(std::size_t size, std::size_t dim, Metric metric) {
  const Executor executor(1);
  BuildOptions options;
  options.metric = metric;
  options.M = 4;
  options.ef_construction = 30;
  options.seed = 11;
  VectorIndex index(dim, options);
  std::vector<Id> ids(size);
  for (std::size_t i = 0; i < size; ++i) ids[i] = static_cast<Id>(1000 - 3 * i);
  index.add(halo::test::random_matrix(size, dim, 5), ids, executor);
  return index.seal(executor);
}

MemoryFileSystem saved(const GraphSnapshot& snapshot) {
  MemoryFileSystem memory;
  BundleWriter writer;
  write_snapshot(writer, snapshot);
  writer.write("file", {}, memory);
  return memory;
}

std::shared_ptr<const GraphSnapshot> load(const MemoryFileSystem& memory) {
  return read_snapshot(BundleReader("file", BundleReader::Check::kEverything, memory));
}

void expect_same(const GraphSnapshot& a, const GraphSnapshot& b) {
  EXPECT_EQ(a.metric(), b.metric());
  EXPECT_EQ(a.M(), b.M());
  EXPECT_EQ(a.ef_construction(), b.ef_construction());
  EXPECT_EQ(a.seed(), b.seed());
  EXPECT_EQ(a.entry_point(), b.entry_point());
  ASSERT_EQ(a.size(), b.size());
  ASSERT_EQ(a.dim(), b.dim());
  ASSERT_EQ(a.num_layers(), b.num_layers());
  EXPECT_TRUE(std::ranges::equal(a.ids(), b.ids()));
  EXPECT_TRUE(std::ranges::equal(a.levels(), b.levels()));
  for (Node node = 0; node < a.size(); ++node) {
    EXPECT_TRUE(std::ranges::equal(a.vector(node), b.vector(node)));
  }
  for (std::size_t l = 0; l < a.num_layers(); ++l) {
    EXPECT_TRUE(std::ranges::equal(a.layer_nodes(l), b.layer_nodes(l)));
    EXPECT_TRUE(std::ranges::equal(a.edges(l).row_offsets, b.edges(l).row_offsets));
    EXPECT_TRUE(std::ranges::equal(a.edges(l).columns, b.edges(l).columns));
  }
}

TEST(SnapshotIo, RoundTrips) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const std::size_t dim : {1, 15, 16, 33}) {
      for (const std::size_t size : {1, 2, 200}) {
        const auto snapshot = build(size, dim, metric);
        const MemoryFileSystem memory = saved(*snapshot);
        const auto back = load(memory);
        expect_same(*snapshot, *back);
        EXPECT_EQ(saved(*back).get("file"), memory.get("file"));
      }
    }
  }
}

TEST(SnapshotIo, RemembersTheKindOfCodes) {
  const auto plain = build(60, 20, Metric::kCosine);
  for (const CodeKind kind : {CodeKind::kBf16, CodeKind::kInt8}) {
    const auto coded = plain->with_codes(kind);
    const auto back = load(saved(*coded));
    expect_same(*coded, *back);
    EXPECT_EQ(back->codes().kind(), kind);
    EXPECT_TRUE(std::ranges::equal(std::span(back->codes().data(), back->codes().bytes()),
                                   std::span(coded->codes().data(), coded->codes().bytes())));
  }
  BundleWriter writer;
  expect_error(ErrorCode::kNotPrepared, "codes only", [&] {
    write_snapshot(writer, *plain->with_codes(CodeKind::kInt8)->without_vectors());
  });
}

TEST(SnapshotIo, KeepsHalvesAndBytesAsTheyAre) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const CodeKind kind : {CodeKind::kBf16, CodeKind::kF16, CodeKind::kInt8}) {
      if (kind == CodeKind::kInt8 && metric != Metric::kL2) continue;
      for (const float offset : {0.0F, -100.0F}) {
        Matrix data = halo::test::random_matrix(150, 20, 5);
        for (std::size_t i = 0; i < data.rows(); ++i) {
          for (float& x : std::span(data.row(i), 20)) {
            if (kind == CodeKind::kInt8) x = std::round((x + 4) * 10) + offset;
          }
        }
        BuildOptions options;
        options.metric = metric;
        options.codes = CodeKind::kInt8;
        options.stored = kind;
        VectorIndex index(20, options);
        index.add(data, Executor(1));
        const auto stored = index.seal(Executor(1));
        const MemoryFileSystem memory = saved(*stored);
        const auto back = load(memory);
        EXPECT_EQ(back->stored(), kind);
        expect_same(*stored->with_vectors_as(CodeKind::kF32),
                    *back->with_vectors_as(CodeKind::kF32));
        for (const auto part : {&GraphSnapshot::kept, &GraphSnapshot::codes}) {
          const VectorCodes &a = ((*stored).*part)(), &b = ((*back).*part)();
          EXPECT_TRUE(
              std::ranges::equal(std::span(a.data(), a.bytes()), std::span(b.data(), b.bytes())));
        }
        EXPECT_EQ(saved(*back).get("file"), memory.get("file"));
        EXPECT_LT(memory.get("file").size(),
                  saved(*stored->with_vectors_as(CodeKind::kF32)).get("file").size());
      }
    }
  }
}

TEST(SnapshotIo, RefusesUnknownOrGarbledStoredKinds) {
  const auto plain = build(20, 4, Metric::kL2);
  const auto with = [&](std::uint32_t kind, std::int32_t offset, std::size_t bytes) {
    std::vector<std::byte> section(std::max<std::size_t>(bytes, 8));
    std::memcpy(section.data(), &kind, 4);
    std::memcpy(section.data() + 4, &offset, 4);
    section.resize(bytes);
    BundleWriter writer;
    write_snapshot_parts(writer, plain->parts());
    writer.add(SectionKind::kSnapshotStored, "snapshot.stored", std::move(section));
    MemoryFileSystem memory;
    writer.write("file", {}, memory);
    return memory;
  };
  expect_error(ErrorCode::kCorrupt, "snapshot.stored", [&] { load(with(3, 0, 7)); });
  expect_error(ErrorCode::kCorrupt, "do not exist", [&] { load(with(1, 0, 8)); });
  expect_error(ErrorCode::kCorrupt, "do not exist", [&] { load(with(77, 0, 8)); });
  expect_error(ErrorCode::kCorrupt, "offset", [&] { load(with(3, 5, 8)); });
  expect_error(ErrorCode::kCorrupt, "offset", [&] { load(with(2, 128, 8)); });
  // 4 floats and 4 bytes are padded to the same 64 bytes a row: the padding tells.
  expect_error(ErrorCode::kCorrupt, "padding", [&] { load(with(3, 128, 8)); });
}

TEST(SnapshotIo, RefusesUnknownOrGarbledCodes) {
  const auto plain = build(20, 4, Metric::kL2);
  for (const std::size_t bytes : {4U, 3U, 8U}) {
    BundleWriter writer;
    write_snapshot_parts(writer, plain->parts());
    writer.add(SectionKind::kSnapshotCodes, "snapshot.codes",
               std::vector<std::byte>(bytes, std::byte{9}));
    MemoryFileSystem memory;
    writer.write("file", {}, memory);
    expect_error(ErrorCode::kCorrupt, "codes", [&] { load(memory); });
  }
}

TEST(SnapshotIo, RoundTripsOnDisk) {
  const halo::test::TemporaryFolder folder;
  const auto snapshot = build(100, 20, Metric::kL2);
  BundleWriter writer;
  write_snapshot(writer, *snapshot);
  writer.write(folder / "index.halo");
  expect_same(*snapshot, *read_snapshot(BundleReader(folder / "index.halo")));
}

TEST(SnapshotIo, UnpaddedVectorsAreWrittenPadded) {
  SnapshotParts parts;
  parts.dim = 3;
  parts.M = 4;
  parts.ef_construction = 10;
  parts.vectors = Matrix(2, 3);
  parts.vectors.row(1)[2] = 7;
  parts.ids = {8, 9};
  parts.levels = {0, 0};
  parts.layers.push_back({{0, 1}, {0, 1, 2}, {1, 0}});
  BundleWriter writer;
  write_snapshot_parts(writer, parts);
  MemoryFileSystem memory;
  writer.write("file", {}, memory);
  const auto back = load(memory);
  EXPECT_EQ(back->vectors().stride, 16u);
  EXPECT_EQ(back->vector(1)[2], 7.0f);
  EXPECT_EQ(back->id(1), 9);
}

using Sections = std::map<SectionKind, Bytes>;

Sections sections_of(const GraphSnapshot& snapshot) {
  const MemoryFileSystem memory = saved(snapshot);
  const BundleReader reader("file", BundleReader::Check::kEverything, memory);
  Sections sections;
  for (const auto& section : reader.sections()) sections[section.kind] = reader.read(section);
  return sections;
}

/// A file with these sections and valid checksums, whatever they say.
MemoryFileSystem forged(const Sections& sections) {
  MemoryFileSystem memory;
  BundleWriter writer;
  for (const auto& [kind, bytes] : sections) writer.add(kind, "section", bytes);
  writer.write("file", {}, memory);
  return memory;
}

template <class T>
void put(Bytes& bytes, std::size_t offset, T value) {
  ASSERT_LE(offset + sizeof value, bytes.size());
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

TEST(SnapshotIo, RefusesMissingAndResizedSections) {
  const Sections good = sections_of(*build(40, 5, Metric::kL2));
  ASSERT_EQ(good.size(), 6u);
  load(forged(good));
  for (const auto& [kind, bytes] : good) {
    SCOPED_TRACE(static_cast<int>(kind));
    Sections changed = good;
    changed.erase(kind);
    expect_error(ErrorCode::kCorrupt, "file: no section of kind", [&] { load(forged(changed)); });
    for (const std::size_t size : {std::size_t{0}, bytes.size() - 1, bytes.size() - 8,
                                   bytes.size() + 1, bytes.size() + 64, 2 * bytes.size()}) {
      changed[kind] = bytes;
      changed[kind].resize(size);
      expect_error(ErrorCode::kCorrupt, "file: ", [&] { load(forged(changed)); });
    }
  }
}

TEST(SnapshotIo, HostileFieldsAreRefused) {
  const Sections good = sections_of(*build(40, 5, Metric::kCosine));
  const auto manifest = [&](std::size_t offset, auto value, ErrorCode code = ErrorCode::kCorrupt) {
    Sections changed = good;
    put(changed[SectionKind::kSnapshotManifest], offset, value);
    expect_error(code, "file: ", [&] { load(forged(changed)); });
  };
  manifest(0, std::uint32_t{2}, ErrorCode::kUnsupportedFormat);
  for (const std::uint32_t metric : {0u, 4u, 0xffffffffu}) manifest(4, metric);
  for (const std::size_t field : {8, 16, 48, 56, 64}) {  // size, dim, layers, entry point, links
    for (const int shift : {0, 5, 31, 32, 40, 55, 60, 63}) {
      manifest(field, (std::uint64_t{1} << shift) + 1000);
      manifest(field, std::uint64_t{0} - (std::uint64_t{1} << shift));
    }
  }
  for (const std::size_t field : {8, 16, 24, 32, 48}) manifest(field, std::uint64_t{0});

  const auto refused = [&](SectionKind kind, std::size_t offset, auto value) {
    Sections changed = good;
    put(changed[kind], offset, value);
    expect_error(ErrorCode::kCorrupt, "file: ", [&] { load(forged(changed)); });
  };
  refused(SectionKind::kSnapshotVectors, 0, std::numeric_limits<float>::quiet_NaN());
  refused(SectionKind::kSnapshotVectors, 4, 3.0f);      // no longer of unit length
  refused(SectionKind::kSnapshotVectors, 5 * 4, 1.0f);  // padding
  refused(SectionKind::kSnapshotVectors, 15 * 4, -0.0f);
  refused(SectionKind::kSnapshotIds, 0, std::int64_t{-1});
  refused(SectionKind::kSnapshotIds, 0,
          *reinterpret_cast<const std::int64_t*>(good.at(SectionKind::kSnapshotIds).data() + 8));
  for (const int level : {63, 64, 255}) {
    refused(SectionKind::kSnapshotLevels, 3, static_cast<std::uint8_t>(level));
  }
  refused(SectionKind::kSnapshotRowOffsets, 0, std::uint64_t{1});
  refused(SectionKind::kSnapshotRowOffsets, 8, std::uint64_t{0} - 1);
  refused(SectionKind::kSnapshotRowOffsets, 8, std::uint64_t{1} << 40);
  refused(SectionKind::kSnapshotNeighbours, 0, Node{40});
  refused(SectionKind::kSnapshotNeighbours, 0, Node{0});  // node 0's link to itself
  refused(SectionKind::kSnapshotNeighbours, 4, Node{0xffffffffu});
}

/// Whatever the bytes say under valid checksums: a typed error, or a snapshot that can be read.
TEST(SnapshotIo, RandomChangesUnderValidChecksums) {
  const Sections good = sections_of(*build(30, 3, Metric::kL2));
  Random random(3);
  int loaded = 0;
  for (int round = 0; round < 3000; ++round) {
    Sections changed = good;
    for (std::uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
      const auto section =
          std::next(changed.begin(), static_cast<std::ptrdiff_t>(random.below(changed.size())));
      Bytes& bytes = section->second;
      if (bytes.empty()) continue;
      constexpr unsigned char kValues[] = {0, 1, 2, 30, 31, 0x7f, 0x80, 0xff};
      bytes[random.below(bytes.size())] = std::byte{kValues[random.below(8)]};
      if (random.below(20) == 0) bytes.resize(random.below(2 * bytes.size()));
    }
    try {
      const auto snapshot = load(forged(changed));
      ++loaded;
      std::size_t seen = 0;
      for (std::size_t l = 0; l < snapshot->num_layers(); ++l) {
        for (const Node node : snapshot->layer_nodes(l)) {
          for (const Node other : snapshot->neighbours(node, l)) {
            seen += snapshot->vector(other).size();
          }
        }
      }
      EXPECT_LT(seen, 100000u);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kCorrupt ||
                  error.code() == ErrorCode::kUnsupportedFormat)
          << error.what();
    }
  }
  // Both kinds must happen, or this test looks at nothing.
  EXPECT_GT(loaded, 100);
  EXPECT_LT(loaded, 2900);
}

}  // namespace
}  // namespace halo::io
