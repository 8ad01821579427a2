// halo's own file: numbered, named, checksummed sections in one file.
//
// Layout (little endian; every number unsigned):
//   byte 0    magic, 8 bytes: 89 'H' 'A' 'L' 'O' 0D 0A 1A (a text-mode copy breaks it visibly)
//        8    u32 format version (1)      12  u32 number of sections, at most kMaxSections
//       16    u64 bytes in the file       24  u64 checksum of the section table
//       32    24 zero bytes               56  u64 checksum of bytes 0 to 55
//       64    the section table, 64 bytes a section, in the order of the sections:
//             u32 kind, u32 zero, u64 offset, u64 size, u64 checksum, name: 32 bytes, zero padded
//   then the sections, each beginning at the first multiple of 64 after the one before, with zeros
//   between; the file's length is a multiple of 64 too. Checksums are XXH3-64 with seed 0.
// There is exactly one byte sequence for given sections: every deviation is refused.
// Sections are aligned so that a file may be mapped; halo itself reads them into its own memory, so
// that a file changed or truncated by someone else after loading can harm nobody.
//
// Thread-safety: a writer belongs to one thread; a reader may be used by several.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halo/core/progress.h"
#include "halo/integration/io/file.h"

namespace halo::io {

/// Persisted: numbers are never reused or renumbered.
enum class SectionKind : std::uint32_t {
  // 1 - 15: the graph snapshot (snapshot_io.h)
  kSnapshotManifest = 1,
  kSnapshotVectors = 2,
  kSnapshotIds = 3,
  kSnapshotLevels = 4,
  kSnapshotRowOffsets = 5,
  kSnapshotNeighbours = 6,
  kSnapshotCodes = 7,
  kSnapshotStored = 8,
  // 16 - 31: the refinement model (model_io.h)
  kModelManifest = 16,
  kModelProjections = 17,
  kModelStates = 18,
  kModelEdges = 19,
  kModelGlobalNodes = 20,
  kModelScales = 21,
  // 22 and 23 were the structure of form 2.
  kModelStructure = 24,
  kModelThresholds = 25,
  kModelDirty = 26,
  // 32 - 47: the trained model (trained_io.h)
  kTrainedManifest = 32,
  kTrainedProjection = 33,
  kTrainedStates = 34,
  kTrainedWindows = 35,
  kTrainedClasses = 36,
  kTrainedGnn = 37,
  kFusion = 38,  // fusion_io.h
};

inline constexpr std::uint32_t kBundleVersion = 1;
inline constexpr std::size_t kMaxSections = 1024;
inline constexpr std::size_t kMaxSectionName = 31;

class BundleWriter {
 public:
  /// Adds a section of its own bytes. `name`: 1 to 31 printable ASCII characters. Throws
  /// kInvalidArgument for a kind added twice or a bad name.
  void add(SectionKind kind, std::string_view name, std::vector<std::byte> bytes);
  /// Adds a section of bytes that the caller keeps alive and unchanged until write() returned.
  void add_borrowed(SectionKind kind, std::string_view name, std::span<const std::byte> bytes);

  /// Publishes the file atomically (atomic_write.h). O(bytes), each read twice. Throws kCancelled
  /// when `job` was stopped, with `path` unchanged.
  void write(const std::filesystem::path& path, const Job& job = {},
             const FileSystem& file_system = posix_file_system()) const;

 private:
  struct Section {
    SectionKind kind;
    std::string name;
    std::vector<std::byte> owned;
    std::span<const std::byte> borrowed;
    std::span<const std::byte> bytes() const { return owned.empty() ? borrowed : owned; }
  };
  void add_section(Section section);
  std::vector<Section> sections_;
};

class BundleReader {
 public:
  enum class Check {
    kEverything,  ///< every checksum now
    kStructure,   ///< header, table, bounds and padding now, a section's checksum when it is read
  };
  struct Section {
    SectionKind kind;
    std::string name;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint64_t checksum = 0;
  };

  /// Throws kNotFound, kIo, kUnsupportedFormat (not a bundle, or of another version) or kCorrupt.
  explicit BundleReader(const std::filesystem::path& path, Check check = Check::kEverything,
                        const FileSystem& file_system = posix_file_system());

  const std::filesystem::path& path() const { return file_.path(); }
  std::span<const Section> sections() const { return sections_; }
  /// Null where the file has no section of that kind.
  const Section* find(SectionKind kind) const;
  /// The same, but throws kCorrupt where it is missing.
  const Section& at(SectionKind kind) const;

  /// Fills `out`, which must be exactly the section's size, and checks what arrived: kCorrupt.
  void read(const Section& section, std::span<std::byte> out) const;
  std::vector<std::byte> read(const Section& section) const;
  /// Checks one section's checksum without keeping it.
  void verify(const Section& section) const;

 private:
  void read_table();
  void check_zeros(std::uint64_t begin, std::uint64_t end) const;

  InputFile file_;
  std::vector<Section> sections_;
};

}  // namespace halo::io
