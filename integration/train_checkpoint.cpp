#include "halo/integration/train_checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/integration/io/file.h"
#include "halo/integration/io/safetensors.h"

namespace halo {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "halo.training.1";

struct Part {
  const char* name;
  std::vector<Matrix> gnn::LoopState::*matrices;
};
constexpr Part kParts[] = {{"parameters", &gnn::LoopState::parameters},
                           {"kept", &gnn::LoopState::kept},
                           {"moments", &gnn::LoopState::moments}};

std::string tensor_name(const std::string& stage, const char* part, std::size_t number) {
  return stage + "/" + part + "." + std::to_string(number);
}

Matrix matrix_of(const io::NamedTensor& tensor) {
  if (tensor.shape.size() != 2) {
    throw Error(ErrorCode::kCorrupt, tensor.name + " is not a matrix");
  }
  Matrix out(tensor.shape[0], tensor.shape[1]);
  for (std::size_t i = 0; i < out.rows(); ++i) {
    std::copy_n(tensor.values.begin() + static_cast<std::ptrdiff_t>(i * out.cols()), out.cols(),
                out.row(i));
  }
  return out;
}

gnn::LoopState state_of(const std::string& stage, const std::string& text,
                        const io::TensorFile& file) {
  const Json json = Json::parse(text);
  gnn::LoopState state;
  state.step = json.at("step").get<std::uint64_t>();
  state.best_step = json.at("best_step").get<std::uint64_t>();
  state.checks_without_gain = json.at("checks_without_gain").get<std::uint64_t>();
  state.best = json.at("best").get<double>();
  state.done = json.at("done").get<bool>();
  state.losses = json.at("losses").get<std::vector<double>>();
  if (state.losses.size() != state.step) throw Error(ErrorCode::kCorrupt, "one loss a step");
  const auto parameters = json.at("parameters").get<std::size_t>();
  if (parameters > file.tensors.size()) throw Error(ErrorCode::kCorrupt, "too many parameters");
  for (const Part& part : kParts) {
    const std::size_t count =
        part.matrices == &gnn::LoopState::moments ? 2 * parameters : parameters;
    for (std::size_t p = 0; p < count; ++p) {
      (state.*part.matrices).push_back(matrix_of(file.at(tensor_name(stage, part.name, p))));
    }
  }
  return state;
}

}  // namespace

TrainCheckpoint::TrainCheckpoint(std::filesystem::path path, bool resume, std::uint64_t run)
    : path_(std::move(path)), run_(run) {
  if (resume && !path_.empty() && std::filesystem::exists(path_)) read();
}

void TrainCheckpoint::read() {
  const io::TensorFile file = io::read_safetensors(path_);
  const auto text = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (text("format") != kFormat) {
    io::fail(ErrorCode::kUnsupportedFormat, path_, std::string("its format is not ") + kFormat);
  }
  if (text("run") != std::to_string(run_)) {
    io::fail(ErrorCode::kModelMismatch, path_,
             "this checkpoint is of a training with other vectors, examples or options");
  }
  for (const auto& [key, value] : file.metadata) {
    if (key == "format" || key == "run") continue;
    try {
      stages_.emplace(key, state_of(key, value, file));
    } catch (const Json::exception& error) {
      io::fail(ErrorCode::kCorrupt, path_, key + ": " + error.what());
    } catch (const Error& error) {
      io::fail(ErrorCode::kCorrupt, path_, key + ": " + error.what());
    }
  }
}

gnn::Checkpointing TrainCheckpoint::at(const std::string& stage) {
  gnn::Checkpointing checkpointing;
  const auto found = stages_.find(stage);
  if (found != stages_.end()) checkpointing.from = &found->second;
  if (path_.empty()) return checkpointing;
  checkpointing.save = [this, stage](const gnn::LoopState& state) {
    stages_.insert_or_assign(stage, gnn::copy_of(state));
    write();
  };
  return checkpointing;
}

void TrainCheckpoint::write() const {
  io::TensorFile file;
  file.metadata = {{"format", kFormat}, {"run", std::to_string(run_)}};
  for (const auto& [stage, state] : stages_) {
    file.metadata[stage] = Json{{"step", state.step},
                                {"best_step", state.best_step},
                                {"checks_without_gain", state.checks_without_gain},
                                {"best", state.best},
                                {"done", state.done},
                                {"losses", state.losses},
                                {"parameters", state.parameters.size()}}
                               .dump();
    for (const Part& part : kParts) {
      const auto& matrices = state.*part.matrices;
      for (std::size_t p = 0; p < matrices.size(); ++p) {
        file.add(tensor_name(stage, part.name, p), matrices[p].view());
      }
    }
  }
  io::write_safetensors(path_, file);
}

}  // namespace halo
