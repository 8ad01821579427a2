#include "halo/gnn/refinement_model.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/harm_gate.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kMaxLayers = 8;
constexpr std::size_t kMaxWindow = 1024;
constexpr std::size_t kZeroRank = 100;  // z is 0 at the 101st best score
constexpr float kAnchorWeight = 2.0F;
constexpr float kSmallestSpan = 1e-9F;

void require(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorCode::kCorrupt, "refinement model: " + what);
}

// The zero point and the inverse span of z over `scores`; `sorted` is scratch.
struct ZScale {
  float zero = 0, inverse_span = 0;
  float operator()(float s) const { return (s - zero) * inverse_span; }
};
ZScale z_scale(std::span<const float> scores, std::vector<float>& sorted) {
  sorted.assign(scores.begin(), scores.end());
  const auto rank = static_cast<std::ptrdiff_t>(std::min(kZeroRank, sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end(), std::greater<>());
  const float zero = sorted[static_cast<std::size_t>(rank)];
  const float span = *std::max_element(sorted.begin(), sorted.begin() + rank + 1) - zero;
  return {zero, span > kSmallestSpan ? 1.0F / span : 0.0F};
}

}  // namespace

void RefineOptions::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("refine options: ") + what);
  };
  check(window <= kMaxWindow, "window must be 0 (adaptive) to 1024");
  check(layers >= 1 && layers <= kMaxLayers, "layers must be 1 to 8");
  check(layer.sharpness >= 0 && std::isfinite(layer.sharpness), "sharpness must not be negative");
  check(layer.neighbour_share >= 0 && layer.neighbour_share <= 1, "neighbour_share must be 0 to 1");
  check(std::isfinite(layer.global_gate), "global_gate must be finite");
  check(spectral_rank >= 1, "spectral_rank must be at least 1");
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
  require(parts.base_coherence >= 0 && parts.base_coherence <= 1, "coherence outside 0 to 1");
  require(std::isfinite(parts.participation_ratio) && std::isfinite(parts.flatness),
          "spectrum figures are not finite");
  require(!parts.calibrated_gate || (*parts.calibrated_gate >= 0 && *parts.calibrated_gate <= 1),
          "calibrated gate outside 0 to 1");
  require(parts.global_nodes.size() == parts.options.layers,
          "one list of global nodes a layer is needed");
  for (const auto& nodes : parts.global_nodes) {
    require(std::all_of(nodes.begin(), nodes.end(), [&](auto node) { return node < parts.size; }),
            "a global node outside the index");
  }
  for (const ContentHead& head : parts.heads) {
    const std::string name = "head " + head.name + ": ";
    require(head.weight >= 0 && head.weight <= 1, name + "weight outside 0 to 1");
    require(head.projection.in_dim() == parts.dim, name + "projection of another dimension");
    require(kernels::all_finite(head.projection.mean().data(), parts.dim),
            name + "mean is not finite");
    const MatrixView basis = head.projection.basis();
    for (std::size_t r = 0; r < basis.rows; ++r) {
      require(kernels::all_finite(basis.row(r), basis.cols), name + "basis is not finite");
    }
    require(head.states.size() == parts.options.layers + 1,
            name + "one state more than layers is needed");
    for (std::size_t t = 0; t < head.states.size(); ++t) {
      const HalfMatrix& state = head.states[t];
      if (t == 0 && basis.rows == 0) {
        require(state.rows() == 0, name + "state 0 of an identity projection is not stored");
        continue;
      }
      require(state.rows() == parts.size && state.cols() == head.projection.out_dim(),
              name + "state of another shape");
      constexpr Bf16 kExponent = 0x7f80;  // all ones: infinity or NaN
      const auto values = state.values();
      require(std::none_of(values.begin(), values.end(),
                           [](Bf16 x) { return (x & kExponent) == kExponent; }),
              name + "state is not finite");
    }
  }
  return std::shared_ptr<const RefinementModel>(new RefinementModel(std::move(parts)));
}

std::size_t RefinementModel::memory_bytes() const {
  std::size_t bytes = parts_.edges.size() * sizeof(std::uint32_t);
  for (const ContentHead& head : parts_.heads) {
    bytes += head.projection.basis().rows * parts_.dim * sizeof(float);
    for (const HalfMatrix& state : head.states) bytes += state.bytes();
  }
  return bytes;
}

void RefinementModel::state(const ContentHead& head, std::size_t layer, std::uint32_t node,
                            const MatrixView& vectors, std::span<float> out) const {
  if (layer > 0 || head.projection.basis().rows > 0) {
    const Bf16* stored = head.states[layer].row(node);
    std::transform(stored, stored + out.size(), out.begin(), bf16_to_float);
    return;
  }
  std::copy_n(vectors.row(node), out.size(), out.begin());
  if (parts_.unit_input) kernels::normalise(out.data(), out.size());
  const auto& mean = head.projection.mean();
  for (std::size_t d = 0; d < out.size(); ++d) out[d] -= mean[d];
  kernels::normalise(out.data(), out.size());
}

void RefinementModel::gather(const ContentHead& head, std::size_t layer,
                             std::span<const std::uint32_t> nodes, const MatrixView& vectors,
                             Matrix& out) const {
  const std::size_t dim = head.projection.out_dim();
  if (out.rows() != nodes.size() || out.cols() != dim) out = Matrix::padded(nodes.size(), dim);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    state(head, layer, nodes[i], vectors, {out.row(i), dim});
  }
}

void RefinementModel::score(std::span<const float> query, const MatrixView& vectors,
                            std::span<const std::uint32_t> candidates,
                            std::span<const float> distances, double gate, Scratch& scratch,
                            std::span<float> scores) const {
  if (candidates.empty()) return;
  const auto window = candidates.first(std::min(parts_.options.window, candidates.size()));
  std::fill(scores.begin(), scores.end(), 0.0F);

  scratch.query.assign(query.begin(), query.end());
  if (parts_.unit_input) kernels::normalise(scratch.query.data(), query.size());
  scratch.message.resize(query.size());
  std::vector<float>& content = scratch.projected;
  for (const ContentHead& head : parts_.heads) {
    if (gate == 0.0 || head.weight == 0.0F) continue;
    const std::size_t dim = head.projection.out_dim();
    std::vector<float> x(dim);
    head.projection.apply(scratch.query.data(), x.data(), scratch.message.data());
    scratch.message.resize(std::max(query.size(), dim));
    ContentLayer layer(parts_.options.layer);
    for (std::size_t t = 0; t < parts_.options.layers; ++t) {
      gather(head, t, window, vectors, scratch.window);
      if (parts_.options.layer.global_gate != 0.0F) {
        gather(head, t, parts_.global_nodes[t], vectors, scratch.global);
      }
      layer.forward_row(x, scratch.window, scratch.global, std::span(scratch.message).first(dim));
    }
    content.resize(candidates.size());
    const HalfMatrix& last = head.states.back();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      content[i] = kernels::dot(x.data(), last.row(candidates[i]), dim);
    }
    const ZScale z = z_scale(content, scratch.sorted);
    const float weight = static_cast<float>(gate) * head.weight;
    for (std::size_t i = 0; i < candidates.size(); ++i) scores[i] += weight * z(content[i]);
  }

  content.assign(distances.begin(), distances.end());
  for (float& s : content) s = -s;
  const ZScale z = z_scale(content, scratch.sorted);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const float anchor = std::max(z(content[i]), 0.0F);
    scores[i] += kAnchorWeight * anchor * anchor * anchor * anchor;
  }
}

std::vector<float> RefinementModel::attention_weights(std::size_t head_index, std::size_t layer,
                                                      std::uint32_t node,
                                                      std::span<const std::uint32_t> columns,
                                                      const MatrixView& vectors) const {
  const ContentHead& head = parts_.heads.at(head_index);
  const std::size_t dim = head.projection.out_dim();
  std::vector<float> x(dim), weights(columns.size());
  Matrix window;
  state(head, layer, node, vectors, x);
  gather(head, layer, columns, vectors, window);
  for (std::size_t j = 0; j < columns.size(); ++j) {
    weights[j] = kernels::dot(x.data(), window.row(j), dim);
  }
  attention::row_adaptive_weights(weights, parts_.options.layer.sharpness);
  return weights;
}

}  // namespace halo::gnn
