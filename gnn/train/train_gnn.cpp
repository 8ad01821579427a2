#include "halo/gnn/train/train_gnn.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "halo/core/csr_mask.h"
#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "halo/gnn/layer_norm.h"
#include "halo/gnn/train/info_nce.h"

namespace halo::gnn {
namespace {

constexpr std::uint32_t kNone = 0xffffffffU;

std::span<const std::uint32_t> window_of(std::span<const std::uint32_t> windows, std::size_t stride,
                                         std::size_t window, std::size_t node) {
  const auto row = windows.subspan(node * stride, std::min(window, stride));
  return row.first(
      static_cast<std::size_t>(std::find(row.begin(), row.end(), kNone) - row.begin()));
}

// A part of the graph: which nodes, their mask among themselves, each layer's global nodes.
struct Part {
  std::vector<std::uint32_t> nodes;
  CsrMask mask;
  std::vector<std::vector<std::uint32_t>> globals;
};

class PartBuilder {
 public:
  PartBuilder(const GnnStart& start, const GnnTrainOptions& options)
      : start_(start), options_(options), place_(start.view.rows, kNone) {}

  // The batch's nodes come first, in their order.
  Part around(std::span<const Example> batch) {
    Part part;
    const auto add = [&](std::uint32_t node) {
      if (place_[node] != kNone) return;
      place_[node] = static_cast<std::uint32_t>(part.nodes.size());
      part.nodes.push_back(node);
    };
    for (const Example& example : batch) add(example.row);
    std::vector<std::span<const std::uint32_t>> of_layers;
    for (std::size_t t = 0; t < options_.layers; ++t) {
      part.globals.emplace_back();
      if (!start_.global_nodes) continue;
      const auto globals = start_.global_nodes(t);
      part.globals.back().assign(globals.begin(), globals.end());
      for (const std::uint32_t node : globals) add(node);
    }
    std::size_t begin = 0;
    for (std::size_t hop = 0; hop < options_.layers; ++hop) {
      const std::size_t end = part.nodes.size();
      for (std::size_t i = begin; i < end && part.nodes.size() < options_.most_nodes; ++i) {
        for (const std::uint32_t node : row(part.nodes[i])) add(node);
      }
      begin = end;
    }
    std::vector<std::vector<std::uint32_t>> rows(part.nodes.size());
    for (std::size_t i = 0; i < part.nodes.size(); ++i) {
      for (const std::uint32_t node : row(part.nodes[i])) {
        if (place_[node] != kNone) rows[i].push_back(place_[node]);
      }
    }
    part.mask = CsrMask::from_rows(std::move(rows), part.nodes.size());
    for (auto& globals : part.globals) {
      for (std::uint32_t& node : globals) node = place_[node];
    }
    for (const std::uint32_t node : part.nodes) place_[node] = kNone;
    return part;
  }

 private:
  std::span<const std::uint32_t> row(std::uint32_t node) const {
    return window_of(start_.windows, start_.stride, options_.window, node);
  }
  const GnnStart& start_;
  const GnnTrainOptions& options_;
  std::vector<std::uint32_t> place_;  // of a node in the part
};

// What is learned: the metric, the scale of the loss, the model's own parameters.
struct Parameters {
  explicit Parameters(const GnnStart& start, const GnnModel& model)
      : weights(Matrix::copy_of(start.weights)), log_scale(1, 1) {
    log_scale.row(0)[0] = std::log(start.scale);
    for (const attention::NamedMatrix& parameter : model.named_parameters()) {
      names.push_back(parameter.name);
      values.push_back(Matrix::copy_of(parameter.value));
    }
  }
  std::vector<MatrixSpan> spans() {
    std::vector<MatrixSpan> all = {weights, log_scale};
    for (Matrix& value : values) all.push_back(value);
    return all;
  }
  GnnModel apply(const GnnModel& model) const {
    std::vector<attention::NamedMatrix> named;
    for (std::size_t p = 0; p < names.size(); ++p) named.push_back({names[p], values[p]});
    return model.with_parameters(named);
  }

  Matrix weights, log_scale;
  std::vector<std::string> names;
  std::vector<Matrix> values;
};

// gradient += 2 penalty / r (P - start), of a matrix of the metric's or a model's.
void add_penalty(const MatrixView& now, const MatrixView& start, float slope,
                 const MatrixSpan& gradient) {
  for (std::size_t i = 0; i < now.rows; ++i) {
    kernels::axpy(slope, now.row(i), gradient.row(i), now.cols);
    kernels::axpy(-slope, start.row(i), gradient.row(i), now.cols);
  }
}

// The loss of one part, and its gradients: metric, scale, then the model's in their order.
double loss_of(const Part& part, std::span<const Example> batch, const MatrixView& view,
               const Parameters& parameters, const GnnModel& model,
               std::span<const MatrixSpan> gradients, const Executor& executor) {
  const std::size_t n = part.nodes.size(), r = view.cols;
  Matrix rows(n, r), x(n, r);
  for (std::size_t i = 0; i < n; ++i) std::copy_n(view.row(part.nodes[i]), r, rows.row(i));
  kernels::gemm_nt(rows, parameters.weights, x, executor);
  std::vector<float> lengths(n);
  l2_normalise(x, lengths, executor);
  GnnModel::Saved saved;
  const LayerNodes globals = layer_nodes_of(
      std::vector<std::span<const std::uint32_t>>(part.globals.begin(), part.globals.end()));
  const attention::Tensor y = model.forward(x, part.mask, globals, saved, executor);

  std::vector<std::uint32_t> groups;
  for (const Example& example : batch) groups.push_back(example.group);
  Matrix d_y(n, r);
  const InfoNce nce = supervised_info_nce(y.item(0).sub_rows(0, batch.size()), groups,
                                          parameters.log_scale.row(0)[0],
                                          d_y.span().sub_rows(0, batch.size()), executor);
  attention::Gradients of_model(model.named_parameters());
  Matrix d_x(n, r);
  const attention::TensorSpan d_x_span = d_x.span();
  model.backward(x, saved, d_y, &d_x_span, of_model, executor);
  l2_normalise_backward(x, lengths, d_x, executor);
  kernels::gemm_tn(d_x, rows, gradients[0], executor);
  gradients[1].row(0)[0] = static_cast<float>(nce.d_log_scale);
  const auto named = of_model.named();
  for (std::size_t p = 0; p < named.size(); ++p) {
    for (std::size_t i = 0; i < named[p].value.rows; ++i) {
      std::copy_n(named[p].value.row(i), named[p].value.cols, gradients[p + 2].row(i));
    }
  }
  return nce.loss;
}

GnnShape shape_for(std::size_t d_model, float scale, const GnnTrainOptions& options) {
  GnnShape shape{options.layers, std::min(options.heads, d_model), scale};
  while (d_model % shape.heads != 0) --shape.heads;
  // A head sees its share of a cosine's terms; the sharpness is that of the whole.
  shape.scale = scale * static_cast<float>(shape.heads);
  return shape;
}

}  // namespace

void GnnTrainOptions::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("gnn options: ") + what);
  };
  check(layers >= 1 && layers <= 8, "layers must be 1 to 8");
  check(heads >= 1 && heads <= 64, "heads must be 1 to 64");
  check(window >= 1, "window must be at least 1");
  check(steps >= 1, "steps must be at least 1");
  check(batch >= 4, "batch must be at least 4");
  check(most_nodes >= batch, "most_nodes must be at least the batch");
  check(check_every >= 1, "check_every must be at least 1");
  check(rate > 0 && std::isfinite(rate), "rate must be above 0");
  check(penalty >= 0 && std::isfinite(penalty), "penalty must not be negative");
}

LearnedGnn train_gnn(const GnnStart& start, std::span<const Example> examples,
                     const GnnTrainOptions& options, const Executor& executor, const Job& job,
                     const ValidateGnn& validate, const Checkpointing& checkpointing) {
  options.validate();
  const std::size_t r = start.view.cols;
  if (start.weights.rows != r || start.weights.cols != r || start.stride == 0 ||
      start.windows.size() != start.view.rows * start.stride) {
    throw Error(ErrorCode::kDimensionMismatch, "gnn: view, metric and windows differ");
  }
  const ExampleGroups groups(examples, start.view.rows);
  const GnnShape shape = shape_for(r, start.scale, options);
  const GnnModel first = make_gnn(r, shape);
  Parameters parameters(start, first);
  const Parameters initial(start, first);
  const std::vector<MatrixSpan> spans = parameters.spans();
  PartBuilder parts(start, options);
  const float slope = 2.0F * options.penalty / static_cast<float>(r);
  const auto step = [&](std::uint64_t number, std::span<const MatrixSpan> gradients) {
    Random random(options.seed, number);
    const auto batch = groups.draw(options.batch, random);
    const double loss = loss_of(parts.around(batch), batch, start.view, parameters,
                                parameters.apply(first), gradients, executor);
    add_penalty(parameters.weights, initial.weights, slope, gradients[0]);
    for (std::size_t p = 0; p < parameters.values.size(); ++p) {
      add_penalty(parameters.values[p], initial.values[p], slope, gradients[p + 2]);
    }
    return loss;
  };
  std::function<double()> check;
  if (validate) check = [&] { return validate(parameters.weights, parameters.apply(first)); };
  const LoopOptions loop{options.steps, options.check_every, 2, options.rate};
  LoopState state =
      run_training_loop("training the graph layers", spans, loop, step, check, checkpointing, job);
  LearnedGnn learned{Matrix::copy_of(parameters.weights),
                     std::exp(parameters.log_scale.row(0)[0]),
                     shape,
                     parameters.apply(first),
                     std::move(state.losses),
                     static_cast<std::size_t>(state.best_step)};
  return learned;
}

void run_gnn(Matrix x, const GnnModel& model, std::span<const std::uint32_t> windows,
             std::size_t stride, std::size_t window, const LayerNodes& global_nodes,
             const std::function<void(std::size_t, const MatrixView&)>& on_state,
             const Executor& executor, const Job& job) {
  std::vector<std::vector<std::uint32_t>> rows(x.rows());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = window_of(windows, stride, window, i);
    rows[i].assign(row.begin(), row.end());
  }
  const CsrMask mask = CsrMask::from_rows(std::move(rows), x.rows());
  on_state(0, x);
  job.check();
  attention::Tensor state;
  attention::TensorView input = x;
  for (std::size_t t = 0; t < model.num_layers(); ++t) {
    attention::LocalGlobalAttention attention = model.blocks()[t].attention;
    attention.update_global_indices(global_nodes ? global_nodes(t)
                                                 : std::span<const std::uint32_t>());
    state = model.blocks()[t].layer.forward(input, attention, mask, executor);
    input = state;
    on_state(t + 1, state.item(0));
    job.check();
  }
}

}  // namespace halo::gnn
