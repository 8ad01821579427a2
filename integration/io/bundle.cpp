#include "halo/integration/io/bundle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <type_traits>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "halo/integration/io/atomic_write.h"

namespace halo::io {

static_assert(std::endian::native == std::endian::little, "bundles are written as they lie");

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kChunk = std::size_t{4} << 20;
constexpr std::array<unsigned char, 8> kMagic = {0x89, 'H', 'A', 'L', 'O', 0x0D, 0x0A, 0x1A};

struct Header {
  std::array<unsigned char, 8> magic = kMagic;
  std::uint32_t version = kBundleVersion;
  std::uint32_t section_count = 0;
  std::uint64_t file_size = 0;
  std::uint64_t table_checksum = 0;
  std::array<std::uint64_t, 3> zero = {};
  std::uint64_t header_checksum = 0;
};
static_assert(sizeof(Header) == 64 && std::is_trivially_copyable_v<Header>);

struct TableEntry {
  std::uint32_t kind = 0;
  std::uint32_t zero = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t checksum = 0;
  std::array<char, kMaxSectionName + 1> name = {};
};
static_assert(sizeof(TableEntry) == 64 && std::is_trivially_copyable_v<TableEntry>);

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t header_checksum_of(const Header& header) {
  return checksum_of(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_checksum)));
}

/// XXH3-64 of bytes that arrive in pieces; the same value as checksum_of() of the whole.
class Checksum {
 public:
  Checksum() { XXH3_64bits_reset(&state_); }
  void update(std::span<const std::byte> bytes) {
    XXH3_64bits_update(&state_, bytes.data(), bytes.size());
  }
  std::uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

constexpr std::uint64_t align_up(std::uint64_t value) {
  return (value + kAlignment - 1) / kAlignment * kAlignment;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxSectionName &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

/// Hands `bytes` on in pieces, so that a stop request is noticed soon.
template <class Take>
void in_chunks(std::span<const std::byte> bytes, const Job& job, Take&& take) {
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(kChunk, bytes.size()))) {
    job.check();
    const auto chunk = bytes.first(std::min(kChunk, bytes.size()));
    take(chunk);
    job.advance(chunk.size());
  }
}

}  // namespace

void BundleWriter::add(SectionKind kind, std::string_view name, std::vector<std::byte> bytes) {
  add_section({kind, std::string(name), std::move(bytes), {}});
}

void BundleWriter::add_borrowed(SectionKind kind, std::string_view name,
                                std::span<const std::byte> bytes) {
  add_section({kind, std::string(name), {}, bytes});
}

void BundleWriter::add_section(Section section) {
  if (!is_name(section.name)) {
    throw Error(ErrorCode::kInvalidArgument,
                "\"" + section.name + "\" cannot name a section: 1 to 31 printable characters");
  }
  const auto same = [&](const Section& other) { return other.kind == section.kind; };
  if (std::any_of(sections_.begin(), sections_.end(), same) || sections_.size() == kMaxSections) {
    throw Error(ErrorCode::kInvalidArgument,
                "section \"" + section.name + "\" of kind " +
                    std::to_string(static_cast<std::uint32_t>(section.kind)) +
                    " was added before, or there are too many sections");
  }
  sections_.push_back(std::move(section));
}

void BundleWriter::write(const std::filesystem::path& path, const Job& job,
                         const FileSystem& file_system) const {
  std::uint64_t total = 0;
  for (const Section& section : sections_) total += section.bytes().size();
  const Stage stage(job, "save", 2 * total);

  std::vector<TableEntry> table;
  std::uint64_t end = sizeof(Header) + sections_.size() * sizeof(TableEntry);
  for (const Section& section : sections_) {
    TableEntry entry;
    entry.kind = static_cast<std::uint32_t>(section.kind);
    entry.offset = end;
    entry.size = section.bytes().size();
    std::copy(section.name.begin(), section.name.end(), entry.name.begin());
    Checksum checksum;
    in_chunks(section.bytes(), job, [&](auto chunk) { checksum.update(chunk); });
    entry.checksum = checksum.value();
    end = align_up(end + entry.size);
    table.push_back(entry);
  }

  Header header;
  header.section_count = static_cast<std::uint32_t>(sections_.size());
  header.file_size = end;
  header.table_checksum = checksum_of(std::as_bytes(std::span(table)));
  header.header_checksum = header_checksum_of(header);

  atomic_write(file_system, path, [&](Output& output) {
    constexpr std::array<std::byte, kAlignment> kZeros = {};
    output.write(std::as_bytes(std::span(&header, 1)));
    output.write(std::as_bytes(std::span(table)));
    for (const Section& section : sections_) {
      in_chunks(section.bytes(), job, [&](auto chunk) { output.write(chunk); });
      output.write(std::span(kZeros).first(align_up(output.written()) - output.written()));
    }
    job.check();
  });
}

BundleReader::BundleReader(const std::filesystem::path& path, Check check,
                           const FileSystem& file_system)
    : file_(file_system, path) {
  read_table();
  if (check == Check::kEverything) {
    for (const Section& section : sections_) verify(section);
  }
}

void BundleReader::read_table() {
  if (file_.size() == 0) fail(ErrorCode::kCorrupt, path(), "the file is empty");
  Header header;
  const auto bytes = std::as_writable_bytes(std::span(&header, 1));
  const auto available = std::min<std::uint64_t>(sizeof(Header), file_.size());
  file_.read(0, bytes.first(available));
  const auto magic_bytes = std::min<std::uint64_t>(kMagic.size(), available);
  if (std::memcmp(header.magic.data(), kMagic.data(), magic_bytes) != 0) {
    fail(ErrorCode::kUnsupportedFormat, path(), "not a halo file");
  }
  if (available < sizeof(Header)) fail(ErrorCode::kCorrupt, path(), "the file is truncated");
  if (header.version != kBundleVersion) {
    fail(ErrorCode::kUnsupportedFormat, path(),
         "format version " + std::to_string(header.version) + ", but this build reads version " +
             std::to_string(kBundleVersion));
  }
  if (header_checksum_of(header) != header.header_checksum) {
    fail(ErrorCode::kCorrupt, path(), "the header's checksum does not match");
  }
  if (header.file_size != file_.size()) {
    fail(ErrorCode::kCorrupt, path(),
         "the file should have " + std::to_string(header.file_size) + " bytes but has " +
             std::to_string(file_.size()));
  }
  if (header.zero != decltype(header.zero){} || header.section_count > kMaxSections) {
    fail(ErrorCode::kCorrupt, path(), "the header is not one this version writes");
  }
  std::vector<TableEntry> table(header.section_count);
  std::uint64_t end = sizeof(Header) + table.size() * sizeof(TableEntry);
  if (end > file_.size()) fail(ErrorCode::kCorrupt, path(), "the section table is cut off");
  file_.read(sizeof(Header), std::as_writable_bytes(std::span(table)));
  if (checksum_of(std::as_bytes(std::span(table))) != header.table_checksum) {
    fail(ErrorCode::kCorrupt, path(), "the section table's checksum does not match");
  }

  std::set<std::uint32_t> kinds;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const TableEntry& entry = table[i];
    const std::string where = "section " + std::to_string(i);
    const std::string_view name(entry.name.data(), strnlen(entry.name.data(), entry.name.size()));
    const auto after_name = entry.name.begin() + static_cast<std::ptrdiff_t>(name.size());
    if (!is_name(name) || entry.zero != 0 ||
        std::any_of(after_name, entry.name.end(), [](char c) { return c != 0; })) {
      fail(ErrorCode::kCorrupt, path(), where + " has a malformed table entry");
    }
    if (!kinds.insert(entry.kind).second) {
      fail(ErrorCode::kCorrupt, path(), where + " repeats kind " + std::to_string(entry.kind));
    }
    // `end` is a multiple of 64 and within the file, which fits in 63 bits: nothing overflows.
    if (entry.offset != end || entry.size > file_.size() - end) {
      fail(ErrorCode::kCorrupt, path(), where + " does not lie where the one before ends");
    }
    end = align_up(end + entry.size);
    if (end > file_.size()) fail(ErrorCode::kCorrupt, path(), where + " passes the file's end");
    check_zeros(entry.offset + entry.size, end);
    sections_.push_back({static_cast<SectionKind>(entry.kind), std::string(name), entry.offset,
                         entry.size, entry.checksum});
  }
  if (end != file_.size()) fail(ErrorCode::kCorrupt, path(), "bytes after the last section");
}

void BundleReader::check_zeros(std::uint64_t begin, std::uint64_t end) const {
  std::array<std::byte, kAlignment> padding = {};
  const auto used = std::span(padding).first(end - begin);
  file_.read(begin, used);
  if (std::any_of(used.begin(), used.end(), [](std::byte b) { return b != std::byte{0}; })) {
    fail(ErrorCode::kCorrupt, path(), "bytes between sections are not zero");
  }
}

const BundleReader::Section* BundleReader::find(SectionKind kind) const {
  const auto same = [&](const Section& section) { return section.kind == kind; };
  const auto found = std::find_if(sections_.begin(), sections_.end(), same);
  return found == sections_.end() ? nullptr : &*found;
}

const BundleReader::Section& BundleReader::at(SectionKind kind) const {
  const Section* section = find(kind);
  if (section != nullptr) return *section;
  fail(ErrorCode::kCorrupt, path(),
       "no section of kind " + std::to_string(static_cast<std::uint32_t>(kind)));
}

void BundleReader::read(const Section& section, std::span<std::byte> out) const {
  if (out.size() != section.size) {
    throw Error(ErrorCode::kInternal, "section \"" + section.name + "\" read into " +
                                          std::to_string(out.size()) + " bytes");
  }
  file_.read(section.offset, out);
  if (checksum_of(out) != section.checksum) {
    fail(ErrorCode::kCorrupt, path(),
         "the checksum of section \"" + section.name + "\" does not match");
  }
}

std::vector<std::byte> BundleReader::read(const Section& section) const {
  std::vector<std::byte> bytes(section.size);
  read(section, bytes);
  return bytes;
}

void BundleReader::verify(const Section& section) const {
  Checksum checksum;
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kChunk, section.size));
  for (std::uint64_t done = 0; done < section.size;) {
    const auto chunk =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), section.size - done));
    file_.read(section.offset + done, chunk);
    checksum.update(chunk);
    done += chunk.size();
  }
  if (checksum.value() != section.checksum) {
    fail(ErrorCode::kCorrupt, path(),
         "the checksum of section \"" + section.name + "\" does not match");
  }
}

}  // namespace halo::io
