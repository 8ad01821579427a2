#include "halo/gnn/trained_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/softmax.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/z_scale.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kMostLayers = 8;
constexpr std::size_t kMostWindow = 1024;
constexpr std::size_t kEntryClasses = 4;  // likeliest classes a walk begins at
// Plain neighbours that a class is read off: the learned ones say what farther ones would.
constexpr std::size_t kPlainNeighbours = 1;
constexpr float kCosineWeight = 0.5F;
constexpr float kCentroidSharpness = 2.0F;  // times the learned scale
constexpr float kLargestLabelWeight = 1000.0F;

void require(bool holds, const std::string& what) {
  if (!holds) throw Error(ErrorCode::kCorrupt, "trained model: " + what);
}

void require_finite(const MatrixView& matrix, const std::string& what) {
  for (std::size_t i = 0; i < matrix.rows; ++i) {
    require(kernels::all_finite(matrix.row(i), matrix.cols), what + " is not finite");
  }
}

void check_states(const TrainedParts& parts) {
  require(parts.states.size() >= 2 && parts.states.size() <= kMostLayers + 1,
          "1 to 8 layers are needed");
  // 16384: far beyond what a layer puts out, and no product of two overflows.
  constexpr Bf16 kMagnitude = 0x7fff, kMost = 0x4680;
  for (const HalfMatrix& state : parts.states) {
    require(state.rows() == parts.size && state.cols() == parts.projection.out_dim(),
            "a state of another shape");
    const auto values = state.values();
    require(
        std::none_of(values.begin(), values.end(), [](Bf16 x) { return (x & kMagnitude) > kMost; }),
        "a state is not finite, or beyond 16384");
  }
}

void check_gnn(const TrainedParts& parts) {
  if (!parts.gnn) return;
  require(parts.gnn->model().d_model() == parts.projection.out_dim() &&
              parts.gnn->shape().layers + 1 == parts.states.size(),
          "a GNN of another shape");
  for (const attention::NamedMatrix& parameter : parts.gnn->model().named_parameters()) {
    require_finite(parameter.value, parameter.name);
  }
  require(parts.gnn_window >= 1 && parts.gnn_window <= parts.window,
          "the GNN's window must be 1 to the window");
  require(parts.global_nodes.size() == parts.gnn->shape().layers,
          "one list of global nodes a layer is needed");
  for (const auto& nodes : parts.global_nodes) {
    require(std::all_of(nodes.begin(), nodes.end(), [&](auto node) { return node < parts.size; }),
            "a global node outside the index");
  }
}

void check_classes(const TrainedParts& parts) {
  const std::size_t classes = parts.centroids.rows();
  require(classes == 0 || parts.centroids.cols() == parts.projection.out_dim(),
          "centroids of another dimension");
  require_finite(parts.centroids, "a centroid");
  for (std::size_t c = 0; c < classes; ++c) {
    require(kernels::dot(parts.centroids.row(c), parts.centroids.row(c), parts.centroids.cols()) <=
                1.1F,
            "a centroid is longer than 1");
  }
  require(parts.entries.size() == classes, "one entry a class is needed");
  require(std::all_of(parts.entries.begin(), parts.entries.end(),
                      [&](auto node) { return node < parts.size; }),
          "an entry outside the index");
  const std::size_t kept = classes == 0 ? 0 : parts.size * kClassesKept;
  require(parts.posteriors.classes.size() == kept && parts.posteriors.roots.size() == kept,
          "posteriors of another size");
  for (std::size_t k = 0; k < kept; ++k) {
    const float root = parts.posteriors.roots[k];
    require(parts.posteriors.classes[k] < classes || parts.posteriors.classes[k] == kNoClass,
            "a posterior of an unknown class");
    require(root >= 0 && root <= 1.0001F, "a probability outside 0 to 1");
  }
}

void check_use(float label_weight, float plain_share, float centroid_share) {
  require(label_weight >= 0 && label_weight <= kLargestLabelWeight, "label weight out of range");
  require(plain_share >= 0 && plain_share <= 1, "plain share outside 0 to 1");
  require(centroid_share >= 0 && centroid_share <= 1, "centroid share outside 0 to 1");
}

// The scores' z, in place.
void to_z(std::span<float> scores, std::vector<float>& sorted) {
  const ZScale z = z_scale(scores, sorted);
  for (float& s : scores) s = z(s);
}

}  // namespace

std::shared_ptr<const TrainedModel> TrainedModel::create(TrainedParts parts) {
  require(parts.size > 0 && parts.dim > 0, "no vectors");
  require(parts.projection.in_dim() == parts.dim, "projection of another dimension");
  require(kernels::all_finite(parts.projection.mean().data(), parts.dim), "mean is not finite");
  require_finite(parts.projection.basis(), "basis");
  require(parts.scale > 0 && parts.scale <= kMostSharpness, "scale must be above 0, up to 1e6");
  require(parts.window >= 1 && parts.window <= kMostWindow, "window must be 1 to 1024");
  require(parts.layer.sharpness >= 0 && parts.layer.sharpness <= kMostSharpness &&
              parts.layer.neighbour_share >= 0 && parts.layer.neighbour_share <= 1 &&
              parts.layer.global_gate == 0.0F,
          "a layer option is out of range");
  require(parts.windows.size() == parts.size * parts.window, "windows of another size");
  require(std::all_of(parts.windows.begin(), parts.windows.end(),
                      [&](auto node) { return node < parts.size || node == kNoNode; }),
          "a window leads outside the index");
  check_states(parts);
  check_gnn(parts);
  require(parts.label_window >= 1 && parts.label_window <= kMostWindow,
          "label window must be 1 to 1024");
  require(parts.label_sharpness >= 0 && std::isfinite(parts.label_sharpness),
          "label sharpness out of range");
  check_classes(parts);
  check_use(parts.label_weight, parts.plain_share, parts.centroid_share);
  const Use use{parts.label_weight, parts.plain_share, parts.centroid_share};
  return std::shared_ptr<const TrainedModel>(
      new TrainedModel(std::make_shared<const TrainedParts>(std::move(parts)), use));
}

std::shared_ptr<const TrainedModel> TrainedModel::with_label_use(float label_weight,
                                                                 float plain_share,
                                                                 float centroid_share) const {
  check_use(label_weight, plain_share, centroid_share);
  const Use use{label_weight, plain_share, centroid_share};
  return std::shared_ptr<const TrainedModel>(new TrainedModel(parts_, use));
}

std::size_t TrainedModel::memory_bytes() const {
  std::size_t bytes = parts_->windows.size() * sizeof(std::uint32_t) +
                      parts_->posteriors.classes.size() * (sizeof(std::uint32_t) + sizeof(float)) +
                      parts_->projection.basis().rows * parts_->dim * sizeof(float) +
                      parts_->centroids.rows() * parts_->centroids.stride() * sizeof(float);
  for (const HalfMatrix& state : parts_->states) bytes += state.bytes();
  if (parts_->gnn) {
    for (const attention::NamedMatrix& parameter : parts_->gnn->model().named_parameters()) {
      bytes += parameter.value.rows * parameter.value.cols * sizeof(float);
    }
  }
  return bytes;
}

void TrainedModel::refine(std::span<const float> query, std::span<const std::uint32_t> candidates,
                          std::span<const float> distances, std::size_t limit,
                          const std::function<bool(std::uint32_t)>& allows, Scratch& scratch,
                          std::uint32_t left_out) const {
  scratch.nodes.clear();
  scratch.scores.clear();
  if (candidates.empty() || limit == 0) return;
  const std::size_t out_dim = parts_->projection.out_dim();
  scratch.query_.assign(query.begin(), query.end());
  if (parts_->unit_input) kernels::normalise(scratch.query_.data(), query.size());
  scratch.message_.resize(std::max(query.size(), out_dim));
  scratch.state_.resize(out_dim);
  parts_->projection.apply(scratch.query_.data(), scratch.state_.data(), scratch.message_.data());
  scratch.likeliest_.clear();
  if (uses_classes()) likeliest_classes(scratch);
  walk(candidates, limit, allows, left_out, scratch);
  for (const auto& found : scratch.allowed_) scratch.nodes.push_back(found.node);
  if (uses_classes()) read_classes(candidates, distances, scratch);
  attend(scratch);
  score(scratch);
}

void TrainedModel::likeliest_classes(Scratch& scratch) const {
  const std::size_t classes = parts_->centroids.rows();
  scratch.classes_.resize(classes);
  for (std::size_t c = 0; c < classes; ++c) {
    scratch.classes_[c] =
        kernels::dot(scratch.state_.data(), parts_->centroids.row(c), parts_->centroids.cols());
  }
  const auto& values = scratch.classes_;
  auto& likeliest = scratch.likeliest_;
  likeliest.resize(classes);
  for (std::size_t c = 0; c < classes; ++c) likeliest[c] = static_cast<std::uint32_t>(c);
  const std::size_t kept = std::min(kEntryClasses, classes);
  std::partial_sort(likeliest.begin(), likeliest.begin() + static_cast<std::ptrdiff_t>(kept),
                    likeliest.end(), [&](std::uint32_t a, std::uint32_t b) {
                      return values[a] != values[b] ? values[a] > values[b] : a < b;
                    });
  likeliest.resize(kept);
  const float sharpness = kCentroidSharpness * parts_->scale;
  for (float& value : scratch.classes_) value *= sharpness;
  kernels::softmax_lse(scratch.classes_.data(), classes);
}

void TrainedModel::walk(std::span<const std::uint32_t> candidates, std::size_t limit,
                        const std::function<bool(std::uint32_t)>& allows, std::uint32_t left_out,
                        Scratch& scratch) const {
  using Found = Scratch::Found;
  const HalfMatrix& states = parts_->states.front();
  // Heaps: the frontier's nearest on top, the kept ones' farthest. Equal cosines: lower node first.
  const auto nearer = [](const Found& a, const Found& b) {
    return a.cosine != b.cosine ? a.cosine > b.cosine : a.node < b.node;
  };
  const auto farther = [&](const Found& a, const Found& b) { return nearer(b, a); };
  const auto keep = [&](std::vector<Found>& heap, const Found& found) {
    if (heap.size() == limit) {
      if (!nearer(found, heap.front())) return false;
      std::pop_heap(heap.begin(), heap.end(), nearer);
      heap.pop_back();
    }
    heap.push_back(found);
    std::push_heap(heap.begin(), heap.end(), nearer);
    return true;
  };
  if (scratch.seen_.size() != parts_->size || ++scratch.walk_ == 0) {
    scratch.seen_.assign(parts_->size, 0);
    scratch.walk_ = 1;
  }
  scratch.frontier_.clear();
  scratch.nearest_.clear();
  scratch.allowed_.clear();
  if (left_out < parts_->size) scratch.seen_[left_out] = scratch.walk_;
  const auto visit = [&](std::uint32_t node, bool may_be_result) {
    if (scratch.seen_[node] == scratch.walk_) return;
    scratch.seen_[node] = scratch.walk_;
    const Found found{kernels::dot(scratch.state_.data(), states.row(node), states.cols()), node};
    if (keep(scratch.nearest_, found)) {
      scratch.frontier_.push_back(found);
      std::push_heap(scratch.frontier_.begin(), scratch.frontier_.end(), farther);
    }
    if (may_be_result || !allows || allows(node)) keep(scratch.allowed_, found);
  };
  for (const std::uint32_t node : candidates) visit(node, true);
  for (const std::uint32_t label : scratch.likeliest_) visit(parts_->entries[label], false);
  while (!scratch.frontier_.empty()) {
    std::pop_heap(scratch.frontier_.begin(), scratch.frontier_.end(), farther);
    const Found next = scratch.frontier_.back();
    scratch.frontier_.pop_back();
    if (scratch.nearest_.size() == limit && nearer(scratch.nearest_.front(), next)) break;
    const std::uint32_t* window = parts_->windows.data() + next.node * parts_->window;
    for (std::size_t e = 0; e < parts_->window && window[e] != kNoNode; ++e) {
      visit(window[e], false);
    }
  }
  std::sort(scratch.nearest_.begin(), scratch.nearest_.end(), nearer);
  std::sort(scratch.allowed_.begin(), scratch.allowed_.end(), nearer);
}

void TrainedModel::run_gnn_layer(std::size_t t, Scratch& scratch) const {
  const auto& nodes = parts_->global_nodes[t];
  const std::size_t dim = parts_->projection.out_dim();
  if (scratch.globals_.rows() != nodes.size() || scratch.globals_.cols() != dim) {
    scratch.globals_ = Matrix::padded(nodes.size(), dim);
  }
  for (std::size_t g = 0; g < nodes.size(); ++g) {
    const Bf16* stored = parts_->states[t].row(nodes[g]);
    std::transform(stored, stored + dim, scratch.globals_.row(g), bf16_to_float);
  }
  parts_->gnn->forward(t, scratch.state_, scratch.window_, scratch.globals_, scratch.gnn_);
}

void TrainedModel::attend(Scratch& scratch) const {
  const std::size_t dim = parts_->projection.out_dim();
  const std::size_t wanted = parts_->gnn ? parts_->gnn_window : parts_->window;
  const std::size_t window = std::min(wanted, scratch.nearest_.size());
  if (scratch.window_.rows() != window || scratch.window_.cols() != dim) {
    scratch.window_ = Matrix::padded(window, dim);
  }
  const ContentLayer layer(parts_->layer);
  for (std::size_t t = 0; t + 1 < parts_->states.size(); ++t) {
    for (std::size_t j = 0; j < window; ++j) {
      const Bf16* stored = parts_->states[t].row(scratch.nearest_[j].node);
      std::transform(stored, stored + dim, scratch.window_.row(j), bf16_to_float);
    }
    if (parts_->gnn) {
      run_gnn_layer(t, scratch);
    } else {
      layer.forward_row(scratch.state_, scratch.window_, {},
                        std::span(scratch.message_).first(dim));
    }
  }
}

// Into scratch.classes_, which holds the centroids' opinion: the square roots of P(c | query).
void TrainedModel::read_classes(std::span<const std::uint32_t> candidates,
                                std::span<const float> distances, Scratch& scratch) const {
  const ClassPosteriors& posteriors = parts_->posteriors;
  for (float& value : scratch.classes_) value *= use_.centroid_share;
  const auto read = [&](std::size_t count, float share, const auto& node_of, const auto& near) {
    scratch.attention_.resize(count);
    for (std::size_t j = 0; j < count; ++j) scratch.attention_[j] = near(j);
    attention::row_adaptive_weights(scratch.attention_, parts_->label_sharpness);
    for (std::size_t j = 0; j < count; ++j) {
      const std::size_t row = node_of(j) * kClassesKept;
      for (std::size_t k = row; k < row + kClassesKept; ++k) {
        if (posteriors.classes[k] == kNoClass) break;
        scratch.classes_[posteriors.classes[k]] +=
            share * scratch.attention_[j] * posteriors.roots[k] * posteriors.roots[k];
      }
    }
  };
  const float share = 1.0F - use_.centroid_share;
  read(
      std::min(parts_->label_window, scratch.nearest_.size()), share * (1.0F - use_.plain_share),
      [&](std::size_t j) { return scratch.nearest_[j].node; },
      [&](std::size_t j) { return scratch.nearest_[j].cosine; });
  read(
      std::min(kPlainNeighbours, candidates.size()), share * use_.plain_share,
      [&](std::size_t j) { return candidates[j]; }, [&](std::size_t j) { return -distances[j]; });
  for (float& value : scratch.classes_) value = std::sqrt(value);
}

void TrainedModel::score(Scratch& scratch) const {
  const std::size_t count = scratch.allowed_.size();
  const HalfMatrix& last = parts_->states.back();
  scratch.content_.resize(count);
  scratch.cosines_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    scratch.cosines_[i] = scratch.allowed_[i].cosine;
    scratch.content_[i] =
        kernels::dot(scratch.state_.data(), last.row(scratch.allowed_[i].node), last.cols());
  }
  to_z(scratch.content_, scratch.sorted_);
  to_z(scratch.cosines_, scratch.sorted_);
  for (std::size_t i = 0; i < count; ++i) {
    float score = scratch.content_[i] + kCosineWeight * scratch.cosines_[i];
    if (uses_classes()) {
      const std::size_t row = scratch.allowed_[i].node * kClassesKept;
      float shared = 0;
      for (std::size_t k = row; k < row + kClassesKept; ++k) {
        if (parts_->posteriors.classes[k] == kNoClass) break;
        shared += scratch.classes_[parts_->posteriors.classes[k]] * parts_->posteriors.roots[k];
      }
      score += use_.label_weight * shared;
    }
    scratch.allowed_[i].cosine = score;
  }
  std::sort(scratch.allowed_.begin(), scratch.allowed_.end(), [](const auto& a, const auto& b) {
    return a.cosine != b.cosine ? a.cosine > b.cosine : a.node < b.node;
  });
  for (std::size_t i = 0; i < count; ++i) {
    scratch.nodes[i] = scratch.allowed_[i].node;
    scratch.scores.push_back(scratch.allowed_[i].cosine);
  }
}

}  // namespace halo::gnn
