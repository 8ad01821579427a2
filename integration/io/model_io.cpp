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

namespace halo::io {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLargestManifest = std::size_t{1} << 20;
constexpr std::uint64_t kMostRows = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMostDimensions = 65536;
constexpr std::size_t kMostHeads = 64;

class Bytes {
 public:
  void append(const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }
  std::vector<std::byte> take() { return std::move(bytes_); }
  void reserve(std::size_t size) { bytes_.reserve(size); }

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

// A number that fits: JSON also holds negative, fractional and absurdly large ones.
std::uint64_t count_of(const Json& json) {
  if (!json.is_number_unsigned()) throw Error(ErrorCode::kCorrupt, "not a count: " + json.dump());
  return json.get<std::uint64_t>();
}
float real_of(const Json& json) {
  const double value =
      json.is_number() ? json.get<double>() : std::numeric_limits<double>::infinity();
  if (!(std::abs(value) <= std::numeric_limits<float>::max())) {
    throw Error(ErrorCode::kCorrupt, "not a number: " + json.dump());
  }
  return static_cast<float>(value);
}

Json manifest_of(const gnn::RefinementParts& parts) {
  Json heads = Json::array(), global_nodes = Json::array();
  for (const auto& head : parts.heads) {
    heads.push_back(
        {{"name", head.name}, {"weight", head.weight}, {"rank", head.projection.basis().rows}});
  }
  for (const auto& nodes : parts.global_nodes) global_nodes.push_back(nodes.size());
  Json manifest{{"size", parts.size},
                {"dim", parts.dim},
                {"unit_input", parts.unit_input},
                {"window", parts.options.window},
                {"layers", parts.options.layers},
                {"sharpness", parts.options.layer.sharpness},
                {"neighbour_share", parts.options.layer.neighbour_share},
                {"global_gate", parts.options.layer.global_gate},
                {"spectral_rank", parts.options.spectral_rank},
                {"heads", heads},
                {"global_nodes", global_nodes},
                {"base_coherence", parts.base_coherence},
                {"participation_ratio", parts.participation_ratio},
                {"flatness", parts.flatness}};
  if (parts.calibrated_gate) manifest["calibrated_gate"] = *parts.calibrated_gate;
  return manifest;
}

struct HeadShape {
  std::string name;
  float weight;
  std::uint64_t rank;
};

struct Manifest {
  gnn::RefinementParts parts;
  std::vector<HeadShape> heads;
  std::vector<std::uint64_t> global_nodes;
};

Manifest parse_manifest(const BundleReader& reader) {
  const auto& section = reader.at(SectionKind::kModelManifest);
  if (section.size > kLargestManifest) corrupt(reader, "the manifest is too large");
  const auto bytes = reader.read(section);
  Manifest m;
  try {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const Json json = Json::parse(text, text + bytes.size());
    m.parts.size = count_of(json.at("size"));
    m.parts.dim = count_of(json.at("dim"));
    m.parts.unit_input = json.at("unit_input").get<bool>();
    m.parts.options.window = count_of(json.at("window"));
    m.parts.options.layers = count_of(json.at("layers"));
    m.parts.options.layer.sharpness = real_of(json.at("sharpness"));
    m.parts.options.layer.neighbour_share = real_of(json.at("neighbour_share"));
    m.parts.options.layer.global_gate = real_of(json.at("global_gate"));
    m.parts.options.spectral_rank = count_of(json.at("spectral_rank"));
    m.parts.base_coherence = json.at("base_coherence").get<double>();
    m.parts.participation_ratio = json.at("participation_ratio").get<double>();
    m.parts.flatness = json.at("flatness").get<double>();
    if (json.contains("calibrated_gate")) {
      m.parts.calibrated_gate = json.at("calibrated_gate").get<double>();
    }
    for (const Json& head : json.at("heads")) {
      m.heads.push_back({head.at("name").get<std::string>(), real_of(head.at("weight")),
                         count_of(head.at("rank"))});
    }
    for (const Json& count : json.at("global_nodes")) m.global_nodes.push_back(count_of(count));
  } catch (const Json::exception& error) {
    corrupt(reader, std::string("manifest: ") + error.what());
  } catch (const Error& error) {
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
  if (m.global_nodes.size() != m.parts.options.layers) {
    corrupt(reader, "one list of global nodes a layer is needed");
  }
  for (const std::uint64_t count : m.global_nodes) {
    if (count > m.parts.size) corrupt(reader, "more global nodes than vectors");
  }
  return m;
}

// Fills the heads from the projections and states sections.
void read_heads(const BundleReader& reader, Manifest& m) {
  const std::uint64_t size = m.parts.size, dim = m.parts.dim, layers = m.parts.options.layers;
  std::uint64_t floats = 0, halves = 0;
  for (const HeadShape& head : m.heads) {
    floats += dim * (1 + head.rank);
    halves += size * (head.rank == 0 ? dim * layers : head.rank * (layers + 1));
  }
  const auto projections = read_array<float>(reader, SectionKind::kModelProjections, floats);
  const auto states = read_array<Bf16>(reader, SectionKind::kModelStates, halves);
  const float* next_float = projections.data();
  const Bf16* next_half = states.data();
  for (const HeadShape& shape : m.heads) {
    gnn::ContentHead head;
    head.name = shape.name;
    head.weight = shape.weight;
    std::vector<float> mean(next_float, next_float + dim);
    next_float += dim;
    Matrix basis;
    if (shape.rank > 0) {
      basis = Matrix::padded(shape.rank, dim);
      for (std::size_t r = 0; r < shape.rank; ++r, next_float += dim) {
        std::copy_n(next_float, dim, basis.row(r));
      }
    }
    head.projection = gnn::Projection(std::move(mean), std::move(basis));
    for (std::size_t t = 0; t <= layers; ++t) {
      if (t == 0 && shape.rank == 0) {
        head.states.emplace_back();
        continue;
      }
      HalfMatrix state(size, head.projection.out_dim());
      for (std::size_t i = 0; i < size; ++i, next_half += state.cols()) {
        std::copy_n(next_half, state.cols(), state.row(i));
      }
      head.states.push_back(std::move(state));
    }
    m.parts.heads.push_back(std::move(head));
  }
}

}  // namespace

void write_model(BundleWriter& writer, const gnn::RefinementModel& model) {
  const gnn::RefinementParts& parts = model.parts();
  const std::string manifest = manifest_of(parts).dump();
  Bytes text, projections, states, global_nodes;
  text.append(manifest.data(), manifest.size());
  states.reserve(model.memory_bytes());
  for (const gnn::ContentHead& head : parts.heads) {
    projections.append(head.projection.mean().data(), parts.dim * sizeof(float));
    const MatrixView basis = head.projection.basis();
    for (std::size_t r = 0; r < basis.rows; ++r) {
      projections.append(basis.row(r), basis.cols * sizeof(float));
    }
    for (const HalfMatrix& state : head.states) {
      for (std::size_t i = 0; i < state.rows(); ++i) {
        states.append(state.row(i), state.cols() * sizeof(Bf16));
      }
    }
  }
  for (const auto& nodes : parts.global_nodes) {
    global_nodes.append(nodes.data(), nodes.size() * sizeof(std::uint32_t));
  }
  writer.add(SectionKind::kModelManifest, "model.manifest", text.take());
  writer.add(SectionKind::kModelProjections, "model.projections", projections.take());
  writer.add(SectionKind::kModelStates, "model.states", states.take());
  writer.add_borrowed(SectionKind::kModelEdges, "model.edges",
                      std::as_bytes(std::span(parts.edges)));
  writer.add(SectionKind::kModelGlobalNodes, "model.global_nodes", global_nodes.take());
}

std::shared_ptr<const gnn::RefinementModel> read_model(const BundleReader& reader) {
  if (reader.find(SectionKind::kModelManifest) == nullptr) return nullptr;
  Manifest m = parse_manifest(reader);
  read_heads(reader, m);
  m.parts.edges = read_array<std::uint32_t>(reader, SectionKind::kModelEdges,
                                            m.parts.size * gnn::kCoherenceEdges);
  std::uint64_t total = 0;
  for (const std::uint64_t count : m.global_nodes) total += count;
  const auto nodes = read_array<std::uint32_t>(reader, SectionKind::kModelGlobalNodes, total);
  auto next = nodes.begin();
  for (const std::uint64_t count : m.global_nodes) {
    const auto end = next + static_cast<std::ptrdiff_t>(count);
    m.parts.global_nodes.emplace_back(next, end);
    next = end;
  }
  return gnn::RefinementModel::create(std::move(m.parts));
}

}  // namespace halo::io
