#include "halo/integration/io/snapshot_io.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "halo/core/half_matrix.h"

namespace halo::io {

namespace {

constexpr std::uint32_t kManifestVersion = 1;
constexpr std::size_t kMaxLayers = 256;  // a level is a byte
constexpr std::size_t kRowFloats = 16;   // rows are padded to 64 bytes

struct Manifest {
  std::uint32_t version = kManifestVersion;
  std::uint32_t metric = 0;
  std::uint64_t size = 0;
  std::uint64_t dim = 0;
  std::uint64_t M = 0;
  std::uint64_t ef_construction = 0;
  std::uint64_t seed = 0;
  std::uint64_t num_layers = 0;
  std::uint64_t entry_point = 0;
};
static_assert(sizeof(Manifest) == 64 && std::is_trivially_copyable_v<Manifest>);

template <class T>
void append(std::vector<std::byte>& bytes, std::span<const T> values) {
  const auto more = std::as_bytes(values);
  bytes.insert(bytes.end(), more.begin(), more.end());
}

bool padding_is_zero(const MatrixView& rows) {
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const float* row = rows.row(i);
    const auto is_zero = [](float x) { return std::bit_cast<std::uint32_t>(x) == 0; };
    if (!std::all_of(row + rows.cols, row + rows.stride, is_zero)) return false;
  }
  return true;
}

[[noreturn]] void corrupt(const BundleReader& bundle, const std::string& what) {
  fail(ErrorCode::kCorrupt, bundle.path(), what);
}

/// The section's bytes as `count` values, where that is its size.
template <class T>
void read_values(const BundleReader& bundle, SectionKind kind, std::span<T> values) {
  bundle.read(bundle.at(kind), std::as_writable_bytes(values));
}

/// Throws unless the section is exactly `count` x `size` bytes. Call it before allocating them.
void expect_size(const BundleReader& bundle, SectionKind kind, std::uint64_t count,
                 std::uint64_t size) {
  const BundleReader::Section& section = bundle.at(kind);
  if (section.size % size != 0 || section.size / size != count) {
    corrupt(bundle, "section \"" + section.name + "\" has " + std::to_string(section.size) +
                        " bytes, not " + std::to_string(count) + " x " + std::to_string(size));
  }
}

std::pair<Manifest, std::vector<std::uint64_t>> read_manifest(const BundleReader& bundle) {
  const BundleReader::Section& section = bundle.at(SectionKind::kSnapshotManifest);
  if (section.size < sizeof(Manifest) ||
      section.size > sizeof(Manifest) + kMaxLayers * sizeof(std::uint64_t)) {
    corrupt(bundle, "the snapshot's manifest has a wrong size");
  }
  const std::vector<std::byte> bytes = bundle.read(section);
  Manifest manifest;
  std::memcpy(&manifest, bytes.data(), sizeof manifest);
  if (manifest.version != kManifestVersion) {
    fail(ErrorCode::kUnsupportedFormat, bundle.path(),
         "snapshot version " + std::to_string(manifest.version) + " is not read, only " +
             std::to_string(kManifestVersion));
  }
  if (manifest.num_layers > kMaxLayers ||
      bytes.size() != sizeof manifest + manifest.num_layers * sizeof(std::uint64_t)) {
    corrupt(bundle, "the snapshot's manifest has a wrong size");
  }
  if (metric_name(static_cast<Metric>(manifest.metric)) == "unknown") {
    corrupt(bundle, "metric " + std::to_string(manifest.metric) + " does not exist");
  }
  constexpr std::uint64_t kMaxNodes = std::numeric_limits<Node>::max();
  if (manifest.size == 0 || manifest.size > kMaxNodes || manifest.dim == 0 ||
      manifest.dim > kMaxNodes || manifest.entry_point >= manifest.size) {
    corrupt(bundle, "the snapshot's size, dimension or entry point is impossible");
  }
  std::vector<std::uint64_t> links(manifest.num_layers);
  std::copy_n(bytes.data() + sizeof manifest, links.size() * sizeof(std::uint64_t),
              std::as_writable_bytes(std::span(links)).begin());
  return {manifest, std::move(links)};
}

/// What the vectors are stored as, where they are not floats.
struct Stored {
  std::uint32_t kind = static_cast<std::uint32_t>(CodeKind::kF32);
  std::int32_t offset = 0;
};
static_assert(sizeof(Stored) == 8 && std::is_trivially_copyable_v<Stored>);
constexpr std::int32_t kByteOffset = 128;

Stored read_stored(const BundleReader& bundle) {
  Stored stored;
  if (bundle.find(SectionKind::kSnapshotStored) == nullptr) return stored;
  expect_size(bundle, SectionKind::kSnapshotStored, 1, sizeof stored);
  read_values(bundle, SectionKind::kSnapshotStored, std::span(&stored, 1));
  const auto kind = static_cast<CodeKind>(stored.kind);
  if (kind != CodeKind::kInt8 && kind != CodeKind::kBf16 && kind != CodeKind::kF16) {
    corrupt(bundle, "vectors of kind " + std::to_string(stored.kind) + " do not exist");
  }
  if (stored.offset != 0 && (kind != CodeKind::kInt8 || stored.offset != kByteOffset)) {
    corrupt(bundle, "vectors are offset by " + std::to_string(stored.offset));
  }
  return stored;
}

/// Vectors that are stored as something else, as floats.
Matrix read_kept_rows(const BundleReader& bundle, const Manifest& manifest, const Stored& stored) {
  constexpr std::uint64_t kLine = 64;
  const auto kind = static_cast<CodeKind>(stored.kind);
  const std::uint64_t width = manifest.dim * (kind == CodeKind::kInt8 ? 1 : sizeof(Bf16));
  const std::uint64_t stride = (width + kLine - 1) / kLine * kLine;
  expect_size(bundle, SectionKind::kSnapshotVectors, manifest.size, stride);
  std::vector<std::byte> bytes(manifest.size * stride);
  read_values(bundle, SectionKind::kSnapshotVectors, std::span(bytes));
  Matrix rows = Matrix::padded(manifest.size, manifest.dim);
  Int8Quantiser quantiser;
  quantiser.offset.assign(manifest.dim, static_cast<float>(stored.offset));
  for (std::size_t i = 0; i < manifest.size; ++i) {
    const std::byte* row = bytes.data() + i * stride;
    if (std::any_of(row + width, row + stride, [](std::byte b) { return b != std::byte{0}; })) {
      corrupt(bundle, "the vectors' padding is not zero");
    }
    decode_row(kind, quantiser, row, {rows.row(i), manifest.dim});
  }
  return rows;
}

Matrix read_rows(const BundleReader& bundle, const Manifest& manifest) {
  const Stored stored = read_stored(bundle);
  if (static_cast<CodeKind>(stored.kind) != CodeKind::kF32) {
    return read_kept_rows(bundle, manifest, stored);
  }
  const std::uint64_t stride = (manifest.dim + kRowFloats - 1) / kRowFloats * kRowFloats;
  expect_size(bundle, SectionKind::kSnapshotVectors, manifest.size, stride * sizeof(float));
  Matrix rows = Matrix::padded(manifest.size, manifest.dim);
  read_values(bundle, SectionKind::kSnapshotVectors,
              std::span(rows.data(), manifest.size * stride));
  if (!padding_is_zero(rows)) corrupt(bundle, "the vectors' padding is not zero");
  return rows;
}

CodeKind read_codes(const BundleReader& bundle) {
  if (bundle.find(SectionKind::kSnapshotCodes) == nullptr) return CodeKind::kF32;
  expect_size(bundle, SectionKind::kSnapshotCodes, 1, sizeof(CodeKind));
  CodeKind kind{};
  read_values(bundle, SectionKind::kSnapshotCodes, std::span(&kind, 1));
  return kind;
}

/// The layers' links, cut out of the two sections that hold them one after the other.
std::vector<LayerLinks> read_layers(const BundleReader& bundle,
                                    const std::vector<std::uint8_t>& levels,
                                    const std::vector<std::uint64_t>& links) {
  std::vector<std::uint64_t> nodes_at_level(kMaxLayers + 1, 0);
  for (const std::uint8_t level : levels) ++nodes_at_level[level];
  std::vector<std::uint64_t> layer_sizes(links.size());
  std::uint64_t reaching = levels.size();
  std::uint64_t num_offsets = 0;
  for (std::size_t l = 0; l < links.size(); ++l) {
    layer_sizes[l] = reaching;
    reaching -= nodes_at_level[l];
    num_offsets += layer_sizes[l] + 1;
  }
  if (reaching != 0) corrupt(bundle, "a node's level is above the top layer");

  std::uint64_t num_links = 0;
  for (const std::uint64_t count : links) {
    // Each below 2^55 and at most 256 of them: the sum fits.
    if (count >> 55 != 0) corrupt(bundle, "a layer has an impossible number of links");
    num_links += count;
  }
  expect_size(bundle, SectionKind::kSnapshotRowOffsets, num_offsets, sizeof(std::uint64_t));
  expect_size(bundle, SectionKind::kSnapshotNeighbours, num_links, sizeof(Node));
  std::vector<std::uint64_t> offsets(num_offsets);
  read_values(bundle, SectionKind::kSnapshotRowOffsets, std::span(offsets));
  std::vector<Node> neighbours(num_links);
  read_values(bundle, SectionKind::kSnapshotNeighbours, std::span(neighbours));

  std::vector<LayerLinks> layers(links.size());
  auto next_offset = offsets.begin();
  auto next_neighbour = neighbours.begin();
  for (std::size_t l = 0; l < layers.size(); ++l) {
    LayerLinks& layer = layers[l];
    layer.nodes.reserve(layer_sizes[l]);
    for (std::size_t node = 0; node < levels.size(); ++node) {
      if (levels[node] >= l) layer.nodes.push_back(static_cast<Node>(node));
    }
    const auto offsets_end = next_offset + static_cast<std::ptrdiff_t>(layer_sizes[l] + 1);
    layer.row_offsets.assign(next_offset, offsets_end);
    next_offset = offsets_end;
    const auto neighbours_end = next_neighbour + static_cast<std::ptrdiff_t>(links[l]);
    layer.neighbours.assign(next_neighbour, neighbours_end);
    next_neighbour = neighbours_end;
  }
  return layers;
}

}  // namespace

namespace {

void write_graph(BundleWriter& bundle, const SnapshotParts& parts) {
  Manifest manifest;
  manifest.metric = static_cast<std::uint32_t>(parts.metric);
  manifest.size = parts.ids.size();
  manifest.dim = parts.dim;
  manifest.M = parts.M;
  manifest.ef_construction = parts.ef_construction;
  manifest.seed = parts.seed;
  manifest.num_layers = parts.layers.size();
  manifest.entry_point = parts.entry_point;
  std::vector<std::byte> manifest_bytes;
  append(manifest_bytes, std::span<const Manifest>(&manifest, 1));
  std::vector<std::byte> offsets;
  std::vector<std::byte> neighbours;
  for (const LayerLinks& layer : parts.layers) {
    const std::uint64_t links = layer.neighbours.size();
    append(manifest_bytes, std::span(&links, 1));
    append(offsets, std::span(layer.row_offsets));
    append(neighbours, std::span(layer.neighbours));
  }
  bundle.add(SectionKind::kSnapshotManifest, "snapshot.manifest", std::move(manifest_bytes));

  bundle.add_borrowed(SectionKind::kSnapshotIds, "snapshot.ids",
                      std::as_bytes(std::span(parts.ids)));
  bundle.add_borrowed(SectionKind::kSnapshotLevels, "snapshot.levels",
                      std::as_bytes(std::span(parts.levels)));
  bundle.add(SectionKind::kSnapshotRowOffsets, "snapshot.row_offsets", std::move(offsets));
  bundle.add(SectionKind::kSnapshotNeighbours, "snapshot.neighbours", std::move(neighbours));
}

void write_floats(BundleWriter& bundle, const MatrixView& rows) {
  const std::size_t stride = (rows.cols + kRowFloats - 1) / kRowFloats * kRowFloats;
  if (rows.stride == stride && padding_is_zero(rows)) {
    bundle.add_borrowed(SectionKind::kSnapshotVectors, "snapshot.vectors",
                        std::as_bytes(std::span(rows.data, rows.rows * stride)));
  } else {
    std::vector<std::byte> bytes(rows.rows * stride * sizeof(float));
    for (std::size_t i = 0; i < rows.rows; ++i) {
      std::memcpy(bytes.data() + i * stride * sizeof(float), rows.row(i),
                  rows.cols * sizeof(float));
    }
    bundle.add(SectionKind::kSnapshotVectors, "snapshot.vectors", std::move(bytes));
  }
}

}  // namespace

void write_snapshot_parts(BundleWriter& bundle, const SnapshotParts& parts) {
  write_graph(bundle, parts);
  write_floats(bundle, parts.vectors);
}

SnapshotParts read_snapshot_parts(const BundleReader& bundle) {
  const auto [manifest, links] = read_manifest(bundle);
  expect_size(bundle, SectionKind::kSnapshotIds, manifest.size, sizeof(Id));
  expect_size(bundle, SectionKind::kSnapshotLevels, manifest.size, 1);
  return reporting_memory(bundle.path(), [&, &manifest = manifest, &links = links] {
    SnapshotParts parts;
    parts.metric = static_cast<Metric>(manifest.metric);
    parts.dim = manifest.dim;
    parts.M = manifest.M;
    parts.ef_construction = manifest.ef_construction;
    parts.seed = manifest.seed;
    parts.entry_point = static_cast<Node>(manifest.entry_point);
    parts.vectors = read_rows(bundle, manifest);
    parts.ids.resize(manifest.size);
    read_values(bundle, SectionKind::kSnapshotIds, std::span(parts.ids));
    parts.levels.resize(manifest.size);
    read_values(bundle, SectionKind::kSnapshotLevels, std::span(parts.levels));
    parts.layers = read_layers(bundle, parts.levels, links);
    return parts;
  });
}

void write_snapshot(BundleWriter& bundle, const GraphSnapshot& snapshot) {
  if (snapshot.stored() == CodeKind::kF32) {
    static_cast<void>(snapshot.vectors());  // refuses a snapshot without them
    write_snapshot_parts(bundle, snapshot.parts());
  } else {
    write_graph(bundle, snapshot.parts());
    const VectorCodes& kept = snapshot.kept();
    Stored stored;
    stored.kind = static_cast<std::uint32_t>(kept.kind());
    if (kept.kind() == CodeKind::kInt8) {
      stored.offset = static_cast<std::int32_t>(kept.quantiser().offset[0]);
    }
    std::vector<std::byte> bytes;
    append(bytes, std::span<const Stored>(&stored, 1));
    bundle.add(SectionKind::kSnapshotStored, "snapshot.stored", std::move(bytes));
    bundle.add_borrowed(SectionKind::kSnapshotVectors, "snapshot.vectors",
                        {kept.data(), kept.bytes()});
  }
  const CodeKind kind = snapshot.codes().kind();
  if (kind == CodeKind::kF32) return;
  std::vector<std::byte> bytes;
  append(bytes, std::span(&kind, 1));
  bundle.add(SectionKind::kSnapshotCodes, "snapshot.codes", std::move(bytes));
}

std::shared_ptr<const GraphSnapshot> read_snapshot(const BundleReader& bundle) {
  SnapshotParts parts = read_snapshot_parts(bundle);
  const CodeKind codes = read_codes(bundle);
  return reporting_memory(bundle.path(), [&] {
    try {
      const auto stored = static_cast<CodeKind>(read_stored(bundle).kind);
      const auto snapshot = GraphSnapshot::create(std::move(parts), codes);
      return stored == CodeKind::kF32 ? snapshot : snapshot->with_vectors_as(stored);
    } catch (const Error& error) {
      fail(error.code(), bundle.path(), error.what());
    }
  });
}

}  // namespace halo::io
