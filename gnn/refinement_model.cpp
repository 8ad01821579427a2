#include "halo/gnn/refinement_model.h"

#include <algorithm>
#include <cmath>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/harm_gate.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kMaxLayers = 8;
constexpr std::size_t kMaxWindow = 1024;
constexpr std::size_t kMaxWideWindows = 16;
constexpr float kMostGate = 1e6F;

void require(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorCode::kCorrupt, "refinement model: " + what);
}

bool share(double x) { return x >= 0 && x <= 1; }

void check_projection(const RefinementHead& head, std::size_t dim, const std::string& name) {
  require(head.projection.in_dim() == dim, name + "projection of another dimension");
  require(kernels::all_finite(head.projection.mean().data(), dim), name + "mean is not finite");
  const MatrixView basis = head.projection.basis();
  for (std::size_t r = 0; r < basis.rows; ++r) {
    require(kernels::all_finite(basis.row(r), basis.cols), name + "basis is not finite");
  }
}

void check_structure(const RefinementHead& head, const RefinementParts& parts,
                     const std::string& name) {
  const StructureRows& rows = head.structure;
  require(rows.kept() == parts.options.structure.kept && rows.size() == parts.size,
          name + "structure of another shape");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = rows.row(i);
    require(std::all_of(row.begin(), row.end(),
                        [&](auto entry) { return rows.node_of(entry) < parts.size; }),
            name + "structure leads outside the index");
  }
}

void check_head(const RefinementHead& head, const RefinementParts& parts) {
  const std::string name = "head " + head.name + ": ";
  require(share(head.weight), name + "weight outside 0 to 1");
  require(share(head.content_share), name + "content share outside 0 to 1");
  require(std::isfinite(head.bars.content) && std::isfinite(head.bars.structure),
          name + "a bar is not finite");
  check_projection(head, parts.dim, name);
  require(head.states.rows() == parts.size && head.states.cols() == head.projection.out_dim(),
          name + "states of another shape");
  require(std::all_of(head.states.scales().begin(), head.states.scales().end(),
                      [](float x) { return share(x); }),
          name + "a state's scale is out of range");
  require(head.thresholds.size() == parts.size, name + "thresholds are missing");
  check_structure(head, parts, name);
}

bool without_walk(const RefinementParts& parts, std::uint32_t node) {
  return std::all_of(parts.heads.begin(), parts.heads.end(), [&](const RefinementHead& head) {
    return head.structure.share_of_square(node) == 0.0F;
  });
}

}  // namespace

RefinementModel::RefinementModel(RefinementParts parts) : parts_(std::move(parts)) {
  for (const std::uint32_t node : parts_.dirty) {
    if (!without_walk(parts_, node)) continue;
    raw_.resize(parts_.size, 0);
    raw_[node] = 1;
  }
}

void RefineOptions::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("refine options: ") + what);
  };
  check(window <= kMaxWindow, "window must be 0 (adaptive) to 1024");
  check(wide_windows >= 1 && wide_windows <= kMaxWideWindows, "wide_windows must be 1 to 16");
  check(layers >= 1 && layers <= kMaxLayers, "layers must be 1 to 8");
  check(layer.sharpness >= 0 && layer.sharpness <= kMostSharpness, "sharpness must be 0 to 1e6");
  check(layer.neighbour_share >= 0 && layer.neighbour_share <= 1, "neighbour_share must be 0 to 1");
  check(std::fabs(layer.global_gate) <= kMostGate, "global_gate must be -1e6 to 1e6");
  check(centred_rank >= 1, "centred_rank must be at least 1");
  check(spectral_rank >= 1, "spectral_rank must be at least 1");
  check(whitened_rank >= 1, "whitened_rank must be at least 1");
  check(memory_share > 0 && std::isfinite(memory_share), "memory_share must be above 0");
  structure.validate();
  entries.validate();
}

std::shared_ptr<const RefinementModel> RefinementModel::create(RefinementParts parts) {
  try {
    parts.options.validate();
  } catch (const Error& error) {
    require(false, error.what());
  }
  require(parts.size > 0 && parts.dim > 0, "no vectors");
  require(!parts.heads.empty(), "no head");
  require(parts.edges.size() == parts.size * kCoherenceEdges, "10 edges a vector are needed");
  require(std::all_of(parts.edges.begin(), parts.edges.end(),
                      [&](auto node) { return node < parts.size || node == kNoEdge; }),
          "an edge leads outside the index");
  require(share(parts.base_coherence), "coherence outside 0 to 1");
  require(std::isfinite(parts.participation_ratio) && std::isfinite(parts.flatness) &&
              std::isfinite(parts.transitivity_ratio),
          "spectrum figures are not finite");
  require(!parts.calibrated_gate || share(*parts.calibrated_gate),
          "calibrated gate outside 0 to 1");
  require(std::all_of(parts.global_nodes.begin(), parts.global_nodes.end(),
                      [&](auto node) { return node < parts.size; }),
          "a global node outside the index");
  for (const RefinementHead& head : parts.heads) check_head(head, parts);
  require(std::is_sorted(parts.dirty.begin(), parts.dirty.end()) &&
              (parts.dirty.empty() || parts.dirty.back() < parts.size),
          "dirty nodes are not in order or outside the index");
  require(std::isfinite(parts.drift) && parts.drift >= 0, "drift is not a number from 0");
  return std::shared_ptr<const RefinementModel>(new RefinementModel(std::move(parts)));
}

std::size_t RefinementModel::memory_bytes() const {
  std::size_t bytes =
      raw_.size() + (parts_.edges.size() + parts_.global_nodes.size() + parts_.dirty.size()) *
                        sizeof(std::uint32_t);
  for (const RefinementHead& head : parts_.heads) {
    bytes += (head.projection.basis().rows + 1) * parts_.dim * sizeof(float);
    bytes += head.states.bytes() + head.structure.bytes() +
             head.thresholds.size() * sizeof(head.thresholds[0]);
  }
  return bytes;
}

std::vector<float> RefinementModel::attention_weights(
    std::size_t head, std::uint32_t node, std::span<const std::uint32_t> columns) const {
  const ByteMatrix& states = parts_.heads.at(head).states;
  std::vector<float> x(states.cols()), y(states.cols()), weights;
  states.copy_row(node, x.data());
  for (const auto column : columns) {
    states.copy_row(column, y.data());
    weights.push_back(kernels::dot(x.data(), y.data(), x.size()));
  }
  attention::row_adaptive_weights(weights, parts_.options.layer.sharpness);
  return weights;
}

}  // namespace halo::gnn
