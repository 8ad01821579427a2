#include "halo/integration/io/bundle.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>
#include <stop_token>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "integration/io/faulty_file_system.h"
#include "integration/io/memory_file_system.h"
#include "support/test_support.h"

namespace halo::io {
namespace {

using halo::test::expect_error;
using test::Bytes;
using test::bytes_of;
using test::FaultyFileSystem;
using test::MemoryFileSystem;

constexpr SectionKind kA{100}, kB{101}, kEmpty{102};
constexpr std::size_t kTable = 64, kEntry = 64;

void fill(BundleWriter& writer) {
  static const Bytes borrowed = bytes_of(std::string(64, 'b'));
  writer.add(kA, "first", bytes_of("hello"));
  writer.add(kEmpty, "empty", {});
  writer.add_borrowed(kB, "second", borrowed);
}

Bytes small_bundle() {
  MemoryFileSystem memory;
  BundleWriter writer;
  fill(writer);
  writer.write("file", {}, memory);
  return memory.get("file");
}

BundleReader open(const MemoryFileSystem& memory) {
  return BundleReader("file", BundleReader::Check::kEverything, memory);
}

/// What opening and reading `bytes` throws; kInternal stands for nothing.
ErrorCode outcome(Bytes bytes) {
  const MemoryFileSystem memory("file", std::move(bytes));
  try {
    open(memory);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, 4), "file");
    return error.code();
  }
  return ErrorCode::kInternal;
}

template <class T>
void put(Bytes& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

/// Makes the checksums of header and table match again, as an attacker would.
void reseal(Bytes& bytes) {
  std::uint32_t count = 0;
  std::memcpy(&count, bytes.data() + 12, sizeof count);
  if (kTable + count * kEntry <= bytes.size()) {
    put(bytes, 24, XXH3_64bits(bytes.data() + kTable, count * kEntry));
  }
  put(bytes, 56, XXH3_64bits(bytes.data(), 56));
}

TEST(Bundle, RoundTrip) {
  const MemoryFileSystem memory("file", small_bundle());
  const BundleReader reader = open(memory);
  ASSERT_EQ(reader.sections().size(), 3u);
  EXPECT_EQ(reader.read(reader.at(kA)), bytes_of("hello"));
  EXPECT_EQ(reader.read(reader.at(kB)), bytes_of(std::string(64, 'b')));
  EXPECT_EQ(reader.read(reader.at(kEmpty)), Bytes());
  EXPECT_EQ(reader.at(kA).name, "first");
  for (const auto& section : reader.sections()) EXPECT_EQ(section.offset % 64, 0u);
  EXPECT_EQ(reader.find(SectionKind{7}), nullptr);
  expect_error(ErrorCode::kCorrupt, "no section of kind 7", [&] { reader.at(SectionKind{7}); });
  Bytes wrong_size(4);
  expect_error(ErrorCode::kInternal, "first", [&] { reader.read(reader.at(kA), wrong_size); });
}

TEST(Bundle, TheSameSectionsGiveTheSameBytes) { EXPECT_EQ(small_bundle(), small_bundle()); }

TEST(Bundle, HasTheDocumentedLayout) {
  const Bytes bytes = small_bundle();
  ASSERT_EQ(bytes.size(), 64u + 3 * 64 + 64 + 64);
  EXPECT_EQ(std::memcmp(bytes.data(), "\x89HALO\r\n\x1a\x01\0\0\0\x03\0\0\0", 16), 0);
  EXPECT_EQ(std::memcmp(bytes.data() + 64 + 3 * 64, "hello\0\0\0", 8), 0);
}

TEST(Bundle, NoSectionsAtAll) {
  MemoryFileSystem memory;
  BundleWriter().write("file", {}, memory);
  EXPECT_EQ(memory.get("file").size(), 64u);
  EXPECT_TRUE(open(memory).sections().empty());
}

TEST(Bundle, RefusesEveryTruncation) {
  const Bytes bytes = small_bundle();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(length);
    EXPECT_EQ(outcome(Bytes(bytes.begin(), end)), ErrorCode::kCorrupt) << length;
  }
}

TEST(Bundle, RefusesEveryBitFlip) {
  Bytes bytes = small_bundle();
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    bytes[bit / 8] ^= mask;
    // The magic and the version say what kind of file it is; anything else is damage.
    const bool kind = bit / 8 < 12;
    EXPECT_EQ(outcome(bytes), kind ? ErrorCode::kUnsupportedFormat : ErrorCode::kCorrupt) << bit;
    bytes[bit / 8] ^= mask;
  }
}

TEST(Bundle, RefusesExtraBytesAndForeignFiles) {
  Bytes bytes = small_bundle();
  bytes.resize(bytes.size() + 64);
  EXPECT_EQ(outcome(bytes), ErrorCode::kCorrupt);
  EXPECT_EQ(outcome({}), ErrorCode::kCorrupt);
  EXPECT_EQ(outcome(bytes_of("PK\x03\x04 something else entirely")), ErrorCode::kUnsupportedFormat);
  EXPECT_EQ(outcome(Bytes(1000)), ErrorCode::kUnsupportedFormat);
}

TEST(Bundle, HostileTablesWithValidChecksumsAreRefused) {
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
  const std::size_t second = kTable + kEntry;
  using Change = std::function<void(Bytes&)>;
  const std::pair<const char*, Change> changes[] = {
      {"too many sections", [](Bytes& b) { put<std::uint32_t>(b, 12, 1025); }},
      {"table beyond the file", [](Bytes& b) { put<std::uint32_t>(b, 12, 1000); }},
      {"all sections possible", [](Bytes& b) { put<std::uint32_t>(b, 12, 0xffffffffu); }},
      {"fewer sections", [](Bytes& b) { put<std::uint32_t>(b, 12, 2); }},
      {"no sections", [](Bytes& b) { put<std::uint32_t>(b, 12, 0); }},
      {"file size", [](Bytes& b) { put<std::uint64_t>(b, 16, kHuge); }},
      {"reserved header bytes", [](Bytes& b) { put<std::uint64_t>(b, 40, 1); }},
      {"reserved entry bytes", [](Bytes& b) { put<std::uint32_t>(b, kTable + 4, 1); }},
      {"duplicate kind", [=](Bytes& b) { put<std::uint32_t>(b, second, 100); }},
      {"overlap", [=](Bytes& b) { put<std::uint64_t>(b, second + 8, 256); }},
      {"into the table", [](Bytes& b) { put<std::uint64_t>(b, kTable + 8, 64); }},
      {"misaligned", [](Bytes& b) { put<std::uint64_t>(b, kTable + 8, 257); }},
      {"huge offset", [=](Bytes& b) { put<std::uint64_t>(b, second + 8, kHuge - 63); }},
      {"huge size", [=](Bytes& b) { put<std::uint64_t>(b, second + 16, kHuge); }},
      {"size wraps around", [=](Bytes& b) { put<std::uint64_t>(b, second + 16, kHuge - 300); }},
      {"longer section", [](Bytes& b) { put<std::uint64_t>(b, kTable + 16, 6); }},
      {"no name", [](Bytes& b) { put<std::uint64_t>(b, kTable + 32, 0); }},
      {"unprintable name", [](Bytes& b) { put<char>(b, kTable + 32, '\n'); }},
      {"bytes after the name", [](Bytes& b) { put<char>(b, kTable + 63, 'x'); }},
      {"padding", [](Bytes& b) { put<char>(b, 64 + 3 * 64 + 5, 'x'); }},
      {"contents", [](Bytes& b) { put<char>(b, 64 + 3 * 64, 'x'); }},
  };
  for (const auto& [what, change] : changes) {
    Bytes bytes = small_bundle();
    change(bytes);
    reseal(bytes);
    EXPECT_EQ(outcome(bytes), ErrorCode::kCorrupt) << what;
  }
}

TEST(Bundle, AnotherVersionIsNamed) {
  Bytes bytes = small_bundle();
  put<std::uint32_t>(bytes, 8, 2);
  reseal(bytes);
  const MemoryFileSystem memory("file", bytes);
  expect_error(ErrorCode::kUnsupportedFormat, "version 2", [&] { open(memory); });
}

TEST(Bundle, StructureCheckLeavesTheContentsToReading) {
  Bytes bytes = small_bundle();
  put<char>(bytes, 64 + 3 * 64, 'x');
  const MemoryFileSystem memory("file", bytes);
  const BundleReader reader("file", BundleReader::Check::kStructure, memory);
  EXPECT_EQ(reader.read(reader.at(kB)).size(), 64u);
  expect_error(ErrorCode::kCorrupt, "first", [&] { reader.read(reader.at(kA)); });
  expect_error(ErrorCode::kCorrupt, "first", [&] { reader.verify(reader.at(kA)); });
}

TEST(Bundle, WriterRefusesBadSections) {
  BundleWriter writer;
  fill(writer);
  expect_error(ErrorCode::kInvalidArgument, "again", [&] { writer.add(kA, "again", {}); });
  for (const char* name :
       {"", "with space", "new\nline", "a name longer than thirty-one characters"}) {
    expect_error(ErrorCode::kInvalidArgument, "section",
                 [&] { writer.add(SectionKind{9}, name, {}); });
  }
}

TEST(Bundle, CancelledWritesChangeNothing) {
  MemoryFileSystem memory("file", bytes_of("old"));
  BundleWriter writer;
  fill(writer);
  std::stop_source stop;
  stop.request_stop();
  Job job;
  job.stop = stop.get_token();
  expect_error(ErrorCode::kCancelled, "stopped", [&] { writer.write("file", job, memory); });
  EXPECT_EQ(memory.get("file"), bytes_of("old"));
  EXPECT_EQ(memory.count(), 1u);
}

TEST(Bundle, EveryFaultWhileWritingKeepsTheOldFile) {
  for (const auto fault : {FaultyFileSystem::Fault::kEio, FaultyFileSystem::Fault::kNoSpace,
                           FaultyFileSystem::Fault::kShortWrite}) {
    for (int n = 0;; ++n) {
      const MemoryFileSystem memory("file", bytes_of("old"));
      const FaultyFileSystem faulty(memory, n, fault);
      BundleWriter writer;
      fill(writer);
      try {
        writer.write("file", {}, faulty);
      } catch (const Error&) {
        EXPECT_EQ(memory.get("file"), bytes_of("old")) << n;
        EXPECT_EQ(memory.count(), 1u);
        continue;
      }
      EXPECT_EQ(memory.get("file"), small_bundle());
      if (!faulty.failed()) break;
    }
  }
}

TEST(Bundle, EveryFaultWhileReadingIsReported) {
  const MemoryFileSystem memory("file", small_bundle());
  const auto read = [](const FileSystem& file_system) {
    const BundleReader reader("file", BundleReader::Check::kEverything, file_system);
    return reader.read(reader.at(kB));
  };
  const FaultyFileSystem counting(memory);
  read(counting);
  for (int n = 0; n < counting.calls(); ++n) {
    const FaultyFileSystem faulty(memory, n, FaultyFileSystem::Fault::kEio);
    expect_error(ErrorCode::kIo, "file", [&] { read(faulty); });
    const FaultyFileSystem slow(memory, n, FaultyFileSystem::Fault::kHarmlessShortWrite);
    EXPECT_EQ(read(slow), bytes_of(std::string(64, 'b')));
  }
}

}  // namespace
}  // namespace halo::io
