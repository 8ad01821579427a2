#include "halo/integration/io/model_tensors.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/integration/io/safetensors.h"

namespace halo::io {
namespace {

constexpr const char* kMetricFormat = "halo.metric.1";
constexpr const char* kGnnFormat = "halo.gnn.1";
constexpr const char* kFusionFormat = "halo.fusion.1";
constexpr std::size_t kMostWindow = 1024;

// The shortest text that reads back as the same number.
template <class Number>
std::string decimal(Number number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  return {text, end};
}

class ModelFile {
 public:
  ModelFile(const std::filesystem::path& path, const FileSystem& file_system)
      : path_(path), file_(read_safetensors(path, file_system)) {}

  [[noreturn]] void refuse(ErrorCode code, const std::string& what) const {
    fail(code, path_, what);
  }
  std::string text(const std::string& key) const {
    const auto found = file_.metadata.find(key);
    return found == file_.metadata.end() ? std::string() : found->second;
  }
  template <class Number>
  Number number(const std::string& key) const {
    const std::string digits = text(key);
    Number value{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
      refuse(ErrorCode::kCorrupt, "metadata " + key + " is not a number");
    }
    return value;
  }
  bool has(const std::string& name) const {
    return std::any_of(file_.tensors.begin(), file_.tensors.end(),
                       [&](const NamedTensor& tensor) { return tensor.name == name; });
  }
  const NamedTensor& tensor(const std::string& name) const {
    if (!has(name)) refuse(ErrorCode::kUnsupportedFormat, "there is no tensor " + name);
    const NamedTensor& found = file_.at(name);
    if (!kernels::all_finite(found.values.data(), found.values.size())) {
      refuse(ErrorCode::kCorrupt, name + " is not finite");
    }
    return found;
  }
  Matrix matrix(const std::string& name) const {
    const NamedTensor& found = tensor(name);
    if (found.shape.size() != 2) refuse(ErrorCode::kCorrupt, name + " is not a matrix");
    Matrix out = Matrix::padded(found.shape[0], found.shape[1]);
    for (std::size_t r = 0; r < out.rows(); ++r) {
      std::copy_n(found.values.begin() + static_cast<std::ptrdiff_t>(r * out.cols()), out.cols(),
                  out.row(r));
    }
    return out;
  }

 private:
  std::filesystem::path path_;
  TensorFile file_;
};

void add_gnn(const gnn::TrainedParts& parts, TensorFile& file) {
  const gnn::GnnShape& shape = parts.gnn->shape();
  file.metadata["format"] = kGnnFormat;
  file.metadata["gnn_heads"] = decimal(shape.heads);
  file.metadata["gnn_scale"] = decimal(shape.scale);
  file.metadata["gnn_window"] = decimal(parts.gnn_window);
  for (const attention::NamedMatrix& parameter : parts.gnn->model().named_parameters()) {
    file.add(parameter.name, parameter.value);
  }
}

void read_gnn(const ModelFile& file, LearnedProjection& learned) {
  const std::size_t rank = learned.projection.out_dim();
  gnn::GnnShape shape;
  shape.heads = file.number<std::size_t>("gnn_heads");
  shape.scale = file.number<float>("gnn_scale");
  learned.gnn_window = file.number<std::size_t>("gnn_window");
  if (learned.gnn_window < 1 || learned.gnn_window > kMostWindow) {
    file.refuse(ErrorCode::kCorrupt, "gnn_window must be 1 to 1024");
  }
  for (shape.layers = 0; file.has("layers." + std::to_string(shape.layers) + ".w_q");) {
    ++shape.layers;
  }
  try {
    const gnn::GnnModel start = gnn::make_gnn(rank, shape);
    std::vector<Matrix> values;
    std::vector<attention::NamedMatrix> named;
    for (const attention::NamedMatrix& parameter : start.named_parameters()) {
      values.push_back(file.matrix(parameter.name));
      named.push_back({parameter.name, values.back()});
    }
    learned.gnn = std::make_shared<const gnn::GnnQuery>(start.with_parameters(named), shape);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupportedFormat) throw;
    file.refuse(ErrorCode::kCorrupt, error.what());
  }
}

}  // namespace

void export_model(const std::filesystem::path& path, const gnn::TrainedModel& model,
                  const FileSystem& file_system) {
  const gnn::TrainedParts& parts = model.parts();
  TensorFile file;
  file.metadata = {{"format", kMetricFormat},
                   {"view", parts.view},
                   {"unit_input", parts.unit_input ? "true" : "false"}};
  file.add("projection.mean", parts.projection.mean());
  file.add("projection.weight", parts.projection.basis());
  file.add("scale", std::span(&parts.scale, 1));
  if (parts.centroids.rows() > 0) file.add("class_centroids", parts.centroids.view());
  if (parts.gnn) add_gnn(parts, file);
  write_safetensors(path, file, file_system);
}

LearnedProjection import_model(const std::filesystem::path& path, const GraphSnapshot& snapshot,
                               const FileSystem& file_system) {
  const ModelFile file(path, file_system);
  const std::string format = file.text("format");
  if (format != kMetricFormat && format != kGnnFormat) {
    file.refuse(ErrorCode::kUnsupportedFormat,
                std::string("its format is neither ") + kMetricFormat + " nor " + kGnnFormat);
  }
  const NamedTensor &mean = file.tensor("projection.mean"), &scale = file.tensor("scale");
  Matrix basis = file.matrix("projection.weight");
  if (mean.shape.size() != 1 || basis.rows() == 0 || basis.cols() != mean.shape[0] ||
      scale.values.size() != 1 || !(scale.values[0] > 0)) {
    file.refuse(ErrorCode::kCorrupt, "shapes do not fit each other, or the scale is not above 0");
  }
  if (mean.values.size() != snapshot.dim()) {
    file.refuse(ErrorCode::kModelMismatch, "the model is for vectors of dimension " +
                                               std::to_string(mean.values.size()) +
                                               ", the index has " + std::to_string(snapshot.dim()));
  }
  const bool unit = snapshot.metric() != Metric::kL2;
  if (file.text("unit_input") != (unit ? "true" : "false")) {
    file.refuse(ErrorCode::kModelMismatch, "the model is for an index of another metric");
  }
  LearnedProjection learned{file.text("view"), gnn::Projection(mean.values, std::move(basis)),
                            scale.values[0], nullptr, 0};
  if (format == kGnnFormat) read_gnn(file, learned);
  return learned;
}

void export_fusion(const std::filesystem::path& path, const gnn::Fusion& fusion,
                   const FileSystem& file_system) {
  std::string heads;
  for (const std::string& head : fusion.heads) heads += (heads.empty() ? "" : ",") + head;
  TensorFile file;
  file.metadata = {{"format", kFusionFormat}, {"heads", heads}};
  file.add("fusion.weights", fusion.weights);
  write_safetensors(path, file, file_system);
}

std::shared_ptr<const gnn::Fusion> import_fusion(const std::filesystem::path& path,
                                                 const FileSystem& file_system) {
  const ModelFile file(path, file_system);
  if (file.text("format") != kFusionFormat) return nullptr;
  auto fusion = std::make_shared<gnn::Fusion>();
  std::string name;
  for (const char letter : file.text("heads") + ',') {
    if (letter != ',') {
      name += letter;
    } else {
      fusion->heads.push_back(std::exchange(name, {}));
    }
  }
  fusion->weights = file.tensor("fusion.weights").values;
  try {
    fusion->validate();
  } catch (const Error& error) {
    file.refuse(ErrorCode::kCorrupt, error.what());
  }
  return fusion;
}

}  // namespace halo::io
