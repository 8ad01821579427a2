#include "halo/integration/io/model_tensors.h"

#include <cmath>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/integration/io/safetensors.h"

namespace halo::io {
namespace {

constexpr const char* kFormat = "halo.metric.1";

}  // namespace

void export_model(const std::filesystem::path& path, const gnn::TrainedModel& model,
                  const FileSystem& file_system) {
  const gnn::TrainedParts& parts = model.parts();
  TensorFile file;
  file.metadata = {{"format", kFormat},
                   {"view", parts.view},
                   {"unit_input", parts.unit_input ? "true" : "false"}};
  file.add("projection.mean", parts.projection.mean());
  file.add("projection.weight", parts.projection.basis());
  file.add("scale", std::span(&parts.scale, 1));
  if (parts.centroids.rows() > 0) file.add("class_centroids", parts.centroids.view());
  write_safetensors(path, file, file_system);
}

LearnedProjection import_model(const std::filesystem::path& path, const GraphSnapshot& snapshot,
                               const FileSystem& file_system) {
  const TensorFile file = read_safetensors(path, file_system);
  const auto text = [&](const std::string& key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (text("format") != kFormat) {
    fail(ErrorCode::kUnsupportedFormat, path, std::string("its format is not ") + kFormat);
  }
  const auto tensor = [&](const char* name) -> const NamedTensor& {
    try {
      return file.at(name);
    } catch (const Error& error) {
      fail(error.code(), path, error.what());
    }
  };
  const NamedTensor &mean = tensor("projection.mean"), &weight = tensor("projection.weight"),
                    &scale = tensor("scale");
  for (const NamedTensor* each : {&mean, &weight, &scale}) {
    if (!kernels::all_finite(each->values.data(), each->values.size())) {
      fail(ErrorCode::kCorrupt, path, each->name + " is not finite");
    }
  }
  if (mean.shape.size() != 1 || weight.shape.size() != 2 || weight.shape[0] == 0 ||
      weight.shape[1] != mean.shape[0] || scale.values.size() != 1 || !(scale.values[0] > 0)) {
    fail(ErrorCode::kCorrupt, path, "shapes do not fit each other, or the scale is not above 0");
  }
  if (mean.values.size() != snapshot.dim()) {
    fail(ErrorCode::kModelMismatch, path,
         "the model is for vectors of dimension " + std::to_string(mean.values.size()) +
             ", the index has " + std::to_string(snapshot.dim()));
  }
  const bool unit = snapshot.metric() != Metric::kL2;
  if (text("unit_input") != (unit ? "true" : "false")) {
    fail(ErrorCode::kModelMismatch, path, "the model is for an index of another metric");
  }
  Matrix basis = Matrix::padded(weight.shape[0], weight.shape[1]);
  for (std::size_t r = 0; r < basis.rows(); ++r) {
    std::copy_n(weight.values.begin() + static_cast<std::ptrdiff_t>(r * basis.cols()), basis.cols(),
                basis.row(r));
  }
  return {text("view"), gnn::Projection(mean.values, std::move(basis)), scale.values[0]};
}

}  // namespace halo::io
