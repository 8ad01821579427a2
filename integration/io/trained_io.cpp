#include "halo/integration/io/trained_io.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/integration/io/manifest_identity.h"
#include "halo/integration/io/manifest_numbers.h"

namespace halo::io {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLargestManifest = std::size_t{1} << 16;
constexpr std::uint64_t kMostRows = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMostDimensions = 65536;
constexpr std::uint64_t kMostLayers = 8;
constexpr std::uint64_t kMostWindow = 1024;
constexpr std::uint64_t kForm = 2;  // form 1 had neither GNN nor label windows
constexpr std::uint64_t kDefaultLabelWindow = 20;

[[noreturn]] void corrupt(const BundleReader& reader, const std::string& what) {
  fail(ErrorCode::kCorrupt, reader.path(), "trained model: " + what);
}

void append(std::vector<std::byte>& to, const void* data, std::size_t size) {
  const auto* begin = static_cast<const std::byte*>(data);
  to.insert(to.end(), begin, begin + size);
}
void append_rows(std::vector<std::byte>& to, const MatrixView& rows) {
  for (std::size_t i = 0; i < rows.rows; ++i) append(to, rows.row(i), rows.cols * sizeof(float));
}

// Counts of items, none of which can overflow: each factor was bounded before.
struct Sizes {
  std::uint64_t size = 0, dim = 0, rank = 0, layers = 0, window = 0, classes = 0;
  std::optional<gnn::GnnShape> gnn;
  std::vector<std::uint64_t> globals;  // a layer of the GNN
};

void parse_gnn(const Json& json, Sizes& sizes, gnn::TrainedParts& parts) {
  if (!json.contains("gnn")) return;
  const Json& gnn = json.at("gnn");
  sizes.gnn.emplace();
  sizes.gnn->layers = count_of(gnn.at("layers"));
  sizes.gnn->heads = count_of(gnn.at("heads"));
  sizes.gnn->scale = real_of(gnn.at("scale"));
  parts.gnn_window = count_of(gnn.at("window"));
  for (const Json& count : gnn.at("globals")) sizes.globals.push_back(count_of(count));
}

Sizes parse_manifest(const BundleReader& reader, gnn::TrainedParts& parts) {
  const auto& section = reader.at(SectionKind::kTrainedManifest);
  if (section.size > kLargestManifest) corrupt(reader, "the manifest is too large");
  const auto bytes = reader.read(section);
  Sizes sizes;
  try {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const Json json = Json::parse(text, text + bytes.size());
    const std::uint64_t form = json.contains("form") ? count_of(json.at("form")) : 1;
    if (form < 1 || form > kForm) {
      fail(ErrorCode::kUnsupportedFormat, reader.path(),
           "the trained model has form " + std::to_string(form) + ", this program reads form " +
               std::to_string(kForm) + ": train it again");
    }
    parts.index = read_identity(json);
    sizes.size = count_of(json.at("size"));
    sizes.dim = count_of(json.at("dim"));
    sizes.rank = count_of(json.at("rank"));
    sizes.layers = count_of(json.at("layers"));
    sizes.window = count_of(json.at("window"));
    sizes.classes = count_of(json.at("classes"));
    parts.unit_input = json.at("unit_input").get<bool>();
    parts.view = json.at("view").get<std::string>();
    parts.scale = real_of(json.at("scale"));
    parts.layer.sharpness = real_of(json.at("sharpness"));
    parts.layer.neighbour_share = real_of(json.at("neighbour_share"));
    parts.label_weight = real_of(json.at("label_weight"));
    parts.plain_share = real_of(json.at("plain_share"));
    if (json.contains("centroid_share")) parts.centroid_share = real_of(json.at("centroid_share"));
    if (form > 1) {
      parts.label_window = count_of(json.at("label_window"));
      parts.label_sharpness = real_of(json.at("label_sharpness"));
    } else {
      parts.label_window = kDefaultLabelWindow;
    }
    parse_gnn(json, sizes, parts);
    if (sizes.gnn) sizes.gnn->validate(sizes.rank);
  } catch (const Json::exception& error) {
    corrupt(reader, std::string("manifest: ") + error.what());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupportedFormat) throw;
    corrupt(reader, std::string("manifest: ") + error.what());
  }
  const auto within = [](std::uint64_t value, std::uint64_t most) {
    return value >= 1 && value <= most;
  };
  if (!within(sizes.size, kMostRows) || !within(sizes.dim, kMostDimensions) ||
      !within(sizes.rank, kMostDimensions) || !within(sizes.layers, kMostLayers) ||
      !within(sizes.window, kMostWindow) || sizes.classes > sizes.size ||
      sizes.globals.size() != (sizes.gnn ? sizes.layers : 0) ||
      std::any_of(sizes.globals.begin(), sizes.globals.end(),
                  [&](std::uint64_t count) { return count > sizes.size; })) {
    corrupt(reader, "a size in the manifest is out of range");
  }
  return sizes;
}

void append_gnn(std::vector<std::byte>& to, const gnn::TrainedParts& parts) {
  for (const attention::NamedMatrix& parameter : parts.gnn->model().named_parameters()) {
    append_rows(to, parameter.value);
  }
  for (const auto& nodes : parts.global_nodes) {
    append(to, nodes.data(), nodes.size() * sizeof(std::uint32_t));
  }
}

// The bytes of a section that must hold exactly `size`, checked before they are allocated.
std::vector<std::byte> read_exactly(const BundleReader& reader, SectionKind kind,
                                    std::uint64_t size) {
  const auto& section = reader.at(kind);
  if (section.size != size) {
    corrupt(reader, section.name + " has " + std::to_string(section.size) + " bytes, not " +
                        std::to_string(size));
  }
  return reader.read(section);
}

// Takes items off the front of a section's bytes.
class Taker {
 public:
  explicit Taker(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  void take(void* to, std::size_t size) {
    std::memcpy(to, bytes_.data() + taken_, size);
    taken_ += size;
  }
  Matrix matrix(std::size_t rows, std::size_t cols) {
    Matrix out = Matrix::padded(rows, cols);
    for (std::size_t i = 0; i < rows; ++i) take(out.row(i), cols * sizeof(float));
    return out;
  }
  template <class T>
  std::vector<T> items(std::size_t count) {
    std::vector<T> out(count);
    take(out.data(), count * sizeof(T));
    return out;
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t taken_ = 0;
};

void read_gnn(const BundleReader& reader, const Sizes& n, gnn::TrainedParts& parts) {
  if (!n.gnn) return;
  const gnn::GnnModel start = gnn::make_gnn(n.rank, *n.gnn);
  std::uint64_t size = 0;
  for (const attention::NamedMatrix& parameter : start.named_parameters()) {
    size += parameter.value.rows * parameter.value.cols * sizeof(float);
  }
  for (const std::uint64_t count : n.globals) size += count * sizeof(std::uint32_t);
  Taker taker(read_exactly(reader, SectionKind::kTrainedGnn, size));
  std::vector<Matrix> values;
  std::vector<attention::NamedMatrix> named;
  for (const attention::NamedMatrix& parameter : start.named_parameters()) {
    values.push_back(taker.matrix(parameter.value.rows, parameter.value.cols));
    named.push_back({parameter.name, values.back()});
  }
  for (const std::uint64_t count : n.globals) {
    parts.global_nodes.push_back(taker.items<std::uint32_t>(count));
  }
  try {
    parts.gnn = std::make_shared<const gnn::GnnQuery>(start.with_parameters(named), *n.gnn);
  } catch (const Error& error) {
    corrupt(reader, error.what());
  }
}

}  // namespace

void write_trained(BundleWriter& writer, const gnn::TrainedModel& model) {
  const gnn::TrainedParts& parts = model.parts();
  const MatrixView basis = parts.projection.basis();
  Json json{{"form", kForm},
            {"size", parts.size},
            {"dim", parts.dim},
            {"rank", basis.rows},
            {"layers", parts.states.size() - 1},
            {"window", parts.window},
            {"classes", parts.centroids.rows()},
            {"unit_input", parts.unit_input},
            {"view", parts.view},
            {"scale", parts.scale},
            {"sharpness", parts.layer.sharpness},
            {"neighbour_share", parts.layer.neighbour_share},
            {"label_weight", model.label_weight()},
            {"plain_share", model.plain_share()},
            {"centroid_share", model.centroid_share()},
            {"label_window", parts.label_window},
            {"label_sharpness", parts.label_sharpness}};
  if (parts.gnn) {
    const gnn::GnnShape& shape = parts.gnn->shape();
    json["gnn"] = {{"layers", shape.layers},
                   {"heads", shape.heads},
                   {"scale", shape.scale},
                   {"window", parts.gnn_window},
                   {"globals", Json::array()}};
    for (const auto& nodes : parts.global_nodes) json["gnn"]["globals"].push_back(nodes.size());
  }
  write_identity(json, parts.index);
  const std::string manifest = json.dump();
  std::vector<std::byte> text, projection, states, classes;
  append(text, manifest.data(), manifest.size());
  append(projection, parts.projection.mean().data(), parts.dim * sizeof(float));
  append_rows(projection, basis);
  append_rows(projection, parts.centroids);
  states.reserve(parts.states.size() * parts.size * basis.rows * sizeof(Bf16));
  for (const HalfMatrix& state : parts.states) {
    for (std::size_t i = 0; i < state.rows(); ++i) {
      append(states, state.row(i), state.cols() * sizeof(Bf16));
    }
  }
  writer.add(SectionKind::kTrainedManifest, "trained.manifest", std::move(text));
  writer.add(SectionKind::kTrainedProjection, "trained.projection", std::move(projection));
  writer.add(SectionKind::kTrainedStates, "trained.states", std::move(states));
  writer.add_borrowed(SectionKind::kTrainedWindows, "trained.windows",
                      std::as_bytes(std::span(parts.windows)));
  if (parts.gnn) {
    std::vector<std::byte> gnn;
    append_gnn(gnn, parts);
    writer.add(SectionKind::kTrainedGnn, "trained.gnn", std::move(gnn));
  }
  if (parts.centroids.rows() == 0) return;
  append(classes, parts.entries.data(), parts.entries.size() * sizeof(std::uint32_t));
  append(classes, parts.posteriors.classes.data(),
         parts.posteriors.classes.size() * sizeof(std::uint32_t));
  append(classes, parts.posteriors.roots.data(), parts.posteriors.roots.size() * sizeof(float));
  writer.add(SectionKind::kTrainedClasses, "trained.classes", std::move(classes));
}

std::shared_ptr<const gnn::TrainedModel> read_trained(const BundleReader& reader) {
  if (reader.find(SectionKind::kTrainedManifest) == nullptr) return nullptr;
  gnn::TrainedParts parts;
  const Sizes n = parse_manifest(reader, parts);
  Taker projection(read_exactly(reader, SectionKind::kTrainedProjection,
                                sizeof(float) * (n.dim * (1 + n.rank) + n.classes * n.rank)));
  Taker states(read_exactly(reader, SectionKind::kTrainedStates,
                            sizeof(Bf16) * n.size * n.rank * (n.layers + 1)));
  Taker windows(read_exactly(reader, SectionKind::kTrainedWindows,
                             sizeof(std::uint32_t) * n.size * n.window));
  parts.size = n.size;
  parts.dim = n.dim;
  parts.window = n.window;
  auto mean = projection.items<float>(n.dim);
  parts.projection = gnn::Projection(std::move(mean), projection.matrix(n.rank, n.dim));
  parts.centroids = projection.matrix(n.classes, n.rank);
  for (std::uint64_t t = 0; t <= n.layers; ++t) {
    HalfMatrix state(n.size, n.rank);
    for (std::size_t i = 0; i < n.size; ++i) states.take(state.row(i), n.rank * sizeof(Bf16));
    parts.states.push_back(std::move(state));
  }
  parts.windows = windows.items<std::uint32_t>(n.size * n.window);
  read_gnn(reader, n, parts);
  if (n.classes > 0) {
    const std::uint64_t kept = n.size * gnn::kClassesKept;
    Taker classes(read_exactly(reader, SectionKind::kTrainedClasses,
                               sizeof(std::uint32_t) * (n.classes + kept) + sizeof(float) * kept));
    parts.entries = classes.items<std::uint32_t>(n.classes);
    parts.posteriors.classes = classes.items<std::uint32_t>(kept);
    parts.posteriors.roots = classes.items<float>(kept);
  }
  try {
    return gnn::TrainedModel::create(std::move(parts));
  } catch (const Error& error) {
    corrupt(reader, error.what());
  }
}

}  // namespace halo::io
