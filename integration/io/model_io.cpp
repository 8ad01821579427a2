#include "halo/integration/io/model_io.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/gnn/harm_gate.h"
#include "halo/integration/io/manifest_identity.h"
#include "halo/integration/io/manifest_numbers.h"

namespace halo::io {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLargestManifest = std::size_t{1} << 20;
constexpr std::uint64_t kMostRows = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMostDimensions = 65536;
constexpr std::size_t kMostHeads = 64;
constexpr std::uint64_t kForm = 3;
constexpr std::uint64_t kFormWithEntries = 4;  // where windows keep a share of their entries

class Bytes {
 public:
  void append(const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }
  template <class T>
  void append(std::span<T> items) {
    append(items.data(), items.size_bytes());
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

[[noreturn]] void corrupt(const BundleReader& reader, const std::string& what) {
  fail(ErrorCode::kCorrupt, reader.path(), "refinement model: " + what);
}

// Reads a section of exactly `count` items of T.
template <class T>
std::vector<T> read_array(const BundleReader& reader, SectionKind kind, std::uint64_t count) {
  const auto& section = reader.at(kind);
  if (count > section.size / sizeof(T) || section.size != count * sizeof(T)) {
    corrupt(reader, section.name + " has " + std::to_string(section.size) + " bytes, not " +
                        std::to_string(count) + " x " + std::to_string(sizeof(T)));
  }
  std::vector<T> items(count);
  reader.read(section, std::as_writable_bytes(std::span(items)));
  return items;
}

Json manifest_of(const gnn::RefinementParts& parts) {
  Json heads = Json::array();
  for (const auto& head : parts.heads) {
    heads.push_back({{"name", head.name},
                     {"weight", head.weight},
                     {"content_share", head.content_share},
                     {"rank", head.projection.basis().rows}});
    if (!parts.options.entries.all()) {
      heads.back()["bars"] = {head.bars.content, head.bars.structure};
    }
  }
  const gnn::RefineOptions& options = parts.options;
  Json manifest{{"form", options.entries.all() ? kForm : kFormWithEntries},
                {"size", parts.size},
                {"dim", parts.dim},
                {"unit_input", parts.unit_input},
                {"window", options.window},
                {"wide_windows", options.wide_windows},
                {"layers", options.layers},
                {"sharpness", options.layer.sharpness},
                {"neighbour_share", options.layer.neighbour_share},
                {"global_gate", options.layer.global_gate},
                {"centred_rank", options.centred_rank},
                {"spectral_rank", options.spectral_rank},
                {"whitened_rank", options.whitened_rank},
                {"memory_share", options.memory_share},
                {"structure",
                 {{"window", options.structure.window},
                  {"sharpness", options.structure.sharpness},
                  {"one_sided", options.structure.one_sided},
                  {"self_share", options.structure.self_share},
                  {"steps", options.structure.steps},
                  {"kept", options.structure.kept},
                  {"breadth", options.structure.breadth}}},
                {"heads", heads},
                {"global_nodes", parts.global_nodes.size()},
                {"base_coherence", parts.base_coherence},
                {"participation_ratio", parts.participation_ratio},
                {"flatness", parts.flatness},
                {"transitivity_ratio", parts.transitivity_ratio},
                {"changed", parts.changed},
                {"drift", parts.drift},
                {"dirty", parts.dirty.size()}};
  if (!options.entries.all()) {
    const gnn::EntryModel& model = options.entries.model;
    manifest["entries"] = {{"share", options.entries.share},
                           {"fewest", options.entries.fewest},
                           {"enough", model.enough},
                           {"redundancy", model.redundancy},
                           {"coefficients", model.coefficients}};
  }
  write_identity(manifest, parts.index);
  if (parts.calibrated_gate) manifest["calibrated_gate"] = *parts.calibrated_gate;
  return manifest;
}

struct HeadShape {
  std::string name;
  float weight, content_share;
  std::uint64_t rank;
  gnn::EntryBars bars;
};

struct Manifest {
  gnn::RefinementParts parts;
  std::vector<HeadShape> heads;
  std::uint64_t global_nodes = 0, dirty = 0;
};

void read_options(const Json& json, gnn::RefineOptions& options) {
  options.window = count_of(json.at("window"));
  options.wide_windows = count_of(json.at("wide_windows"));
  options.layers = count_of(json.at("layers"));
  options.layer.sharpness = real_of(json.at("sharpness"));
  options.layer.neighbour_share = real_of(json.at("neighbour_share"));
  options.layer.global_gate = real_of(json.at("global_gate"));
  options.centred_rank = count_of(json.at("centred_rank"));
  options.spectral_rank = count_of(json.at("spectral_rank"));
  options.whitened_rank = count_of(json.at("whitened_rank"));
  options.memory_share = json.at("memory_share").get<double>();
  const Json& structure = json.at("structure");
  options.structure.window = count_of(structure.at("window"));
  options.structure.sharpness = real_of(structure.at("sharpness"));
  options.structure.one_sided = real_of(structure.at("one_sided"));
  options.structure.self_share = real_of(structure.at("self_share"));
  options.structure.steps = count_of(structure.at("steps"));
  options.structure.kept = count_of(structure.at("kept"));
  options.structure.breadth = count_of(structure.at("breadth"));
}

// The reals of `json`, exactly `count` of them.
std::vector<float> reals_of(const Json& json, std::size_t count) {
  if (!json.is_array() || json.size() != count) {
    throw Error(ErrorCode::kCorrupt, "not " + std::to_string(count) + " numbers");
  }
  std::vector<float> reals;
  for (const Json& real : json) reals.push_back(real_of(real));
  return reals;
}

void read_entries(const Json& json, gnn::EntryOptions& entries) {
  entries.share = real_of(json.at("share"));
  entries.fewest = real_of(json.at("fewest"));
  entries.model.enough = real_of(json.at("enough"));
  entries.model.redundancy = real_of(json.at("redundancy"));
  const auto coefficients = reals_of(json.at("coefficients"), gnn::kEntryTerms);
  std::ranges::copy(coefficients, entries.model.coefficients.begin());
}

gnn::EntryBars bars_of(const Json& json) {
  const auto bars = reals_of(json, 2);
  return {bars[0], bars[1]};
}

Manifest parse_manifest(const BundleReader& reader) {
  const auto& section = reader.at(SectionKind::kModelManifest);
  if (section.size > kLargestManifest) corrupt(reader, "the manifest is too large");
  const auto bytes = reader.read(section);
  Manifest m;
  try {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const Json json = Json::parse(text, text + bytes.size());
    if (!json.is_object()) throw Error(ErrorCode::kCorrupt, "not an object");
    const std::uint64_t form = json.contains("form") ? count_of(json.at("form")) : 1;
    if (form != kForm && form != kFormWithEntries) {
      fail(ErrorCode::kUnsupportedFormat, reader.path(),
           "the refinement model has form " + std::to_string(form) + ", this program reads forms " +
               std::to_string(kForm) + " and " + std::to_string(kFormWithEntries) +
               ": prepare it again");
    }
    m.parts.index = read_identity(json);
    m.parts.size = count_of(json.at("size"));
    m.parts.dim = count_of(json.at("dim"));
    m.parts.unit_input = json.at("unit_input").get<bool>();
    read_options(json, m.parts.options);
    const bool sparse = form == kFormWithEntries;
    if (sparse) read_entries(json.at("entries"), m.parts.options.entries);
    m.parts.base_coherence = json.at("base_coherence").get<double>();
    m.parts.participation_ratio = json.at("participation_ratio").get<double>();
    m.parts.flatness = json.at("flatness").get<double>();
    m.parts.transitivity_ratio = json.at("transitivity_ratio").get<double>();
    if (json.contains("calibrated_gate")) {
      m.parts.calibrated_gate = json.at("calibrated_gate").get<double>();
    }
    for (const Json& head : json.at("heads")) {
      m.heads.push_back({head.at("name").get<std::string>(), real_of(head.at("weight")),
                         real_of(head.at("content_share")), count_of(head.at("rank")),
                         sparse ? bars_of(head.at("bars")) : gnn::EntryBars()});
    }
    m.global_nodes = count_of(json.at("global_nodes"));
    m.parts.changed = count_of(json.at("changed"));
    m.parts.drift = json.at("drift").get<double>();
    m.dirty = count_of(json.at("dirty"));
  } catch (const Json::exception& error) {
    corrupt(reader, std::string("manifest: ") + error.what());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupportedFormat) throw;
    corrupt(reader, std::string("manifest: ") + error.what());
  }
  // Bounds that keep every product below within 64 bits; RefinementModel::create checks the rest.
  if (m.parts.size == 0 || m.parts.size > kMostRows || m.parts.dim == 0 ||
      m.parts.dim > kMostDimensions || m.heads.size() > kMostHeads) {
    corrupt(reader, "a size in the manifest is out of range");
  }
  try {
    m.parts.options.validate();
  } catch (const Error& error) {
    corrupt(reader, error.what());
  }
  for (const HeadShape& head : m.heads) {
    if (head.rank > m.parts.dim)
      corrupt(reader, "head " + head.name + " has more directions than the data");
  }
  if (m.global_nodes > m.parts.size) corrupt(reader, "more global nodes than vectors");
  if (m.dirty > m.parts.size) corrupt(reader, "more dirty nodes than vectors");
  return m;
}

gnn::Projection take_projection(const float*& next, std::uint64_t dim, std::uint64_t rank) {
  std::vector<float> mean(next, next + dim);
  next += dim;
  Matrix basis;
  if (rank > 0) {
    basis = Matrix::padded(rank, dim);
    for (std::size_t r = 0; r < rank; ++r, next += dim) std::copy_n(next, dim, basis.row(r));
  }
  return {std::move(mean), std::move(basis)};
}

template <class T>
std::vector<T> take(const T*& next, std::uint64_t count) {
  std::vector<T> items(next, next + count);
  next += count;
  return items;
}

// Fills the heads from the sections of projections, states, scales and structure.
void read_heads(const BundleReader& reader, Manifest& m) {
  const std::uint64_t size = m.parts.size, dim = m.parts.dim, count = m.heads.size();
  const std::uint64_t kept = m.parts.options.structure.kept;
  std::uint64_t floats = 0, bytes = 0;
  for (const HeadShape& head : m.heads) {
    floats += dim * (1 + head.rank);
    bytes += size * (head.rank == 0 ? dim : head.rank);
  }
  const auto projections = read_array<float>(reader, SectionKind::kModelProjections, floats);
  const auto states = read_array<std::int8_t>(reader, SectionKind::kModelStates, bytes);
  const auto scales = read_array<float>(reader, SectionKind::kModelScales, count * size);
  const auto thresholds =
      read_array<std::int16_t>(reader, SectionKind::kModelThresholds, count * size);
  const auto entries =
      read_array<std::uint32_t>(reader, SectionKind::kModelStructure, count * size * kept);
  const float *next_float = projections.data(), *next_scale = scales.data();
  const std::int8_t* next_state = states.data();
  const std::uint32_t* next_entry = entries.data();
  const std::int16_t* next_threshold = thresholds.data();
  for (const HeadShape& shape : m.heads) {
    gnn::RefinementHead head;
    head.name = shape.name;
    head.weight = shape.weight;
    head.content_share = shape.content_share;
    head.bars = shape.bars;
    head.projection = take_projection(next_float, dim, shape.rank);
    head.states = ByteMatrix(size, head.projection.out_dim());
    for (std::size_t i = 0; i < size; ++i, next_state += head.states.cols()) {
      std::copy_n(next_state, head.states.cols(), head.states.row(i));
    }
    std::copy_n(next_scale, size, head.states.scales().begin());
    next_scale += size;
    head.thresholds = take(next_threshold, size);
    head.structure = gnn::StructureRows(size, kept);
    for (std::size_t i = 0; i < size; ++i, next_entry += kept) {
      std::copy_n(next_entry, kept, head.structure.row(i).begin());
    }
    m.parts.heads.push_back(std::move(head));
  }
}

}  // namespace

void write_model(BundleWriter& writer, const gnn::RefinementModel& model) {
  const gnn::RefinementParts& parts = model.parts();
  const std::string manifest = manifest_of(parts).dump();
  Bytes text, projections, states, scales, thresholds, structure;
  text.append(manifest.data(), manifest.size());
  for (const gnn::RefinementHead& head : parts.heads) {
    projections.append(head.projection.mean().data(), parts.dim * sizeof(float));
    const MatrixView basis = head.projection.basis();
    for (std::size_t r = 0; r < basis.rows; ++r) {
      projections.append(basis.row(r), basis.cols * sizeof(float));
    }
    for (std::size_t i = 0; i < head.states.rows(); ++i) {
      states.append(head.states.row(i), head.states.cols());
    }
    scales.append(head.states.scales());
    thresholds.append(std::span(head.thresholds));
    for (std::size_t i = 0; i < head.structure.size(); ++i) structure.append(head.structure.row(i));
  }
  writer.add(SectionKind::kModelManifest, "model.manifest", text.take());
  writer.add(SectionKind::kModelProjections, "model.projections", projections.take());
  writer.add(SectionKind::kModelStates, "model.states", states.take());
  writer.add(SectionKind::kModelScales, "model.scales", scales.take());
  writer.add(SectionKind::kModelThresholds, "model.thresholds", thresholds.take());
  writer.add(SectionKind::kModelStructure, "model.structure", structure.take());
  writer.add_borrowed(SectionKind::kModelEdges, "model.edges",
                      std::as_bytes(std::span(parts.edges)));
  writer.add_borrowed(SectionKind::kModelGlobalNodes, "model.global_nodes",
                      std::as_bytes(std::span(parts.global_nodes)));
  writer.add_borrowed(SectionKind::kModelDirty, "model.dirty",
                      std::as_bytes(std::span(parts.dirty)));
}

std::shared_ptr<const gnn::RefinementModel> read_model(const BundleReader& reader) {
  if (reader.find(SectionKind::kModelManifest) == nullptr) return nullptr;
  Manifest m = parse_manifest(reader);
  read_heads(reader, m);
  m.parts.edges = read_array<std::uint32_t>(reader, SectionKind::kModelEdges,
                                            m.parts.size * gnn::kCoherenceEdges);
  m.parts.global_nodes =
      read_array<std::uint32_t>(reader, SectionKind::kModelGlobalNodes, m.global_nodes);
  m.parts.dirty = read_array<std::uint32_t>(reader, SectionKind::kModelDirty, m.dirty);
  try {
    return gnn::RefinementModel::create(std::move(m.parts));
  } catch (const Error& error) {
    fail(error.code(), reader.path(), error.what());
  }
}

}  // namespace halo::io
