// Node classification on Cora's public split with the graph convolution and the graph attention
// layer, as their papers train them: two layers, dropout, Adam, early stopping on the validation
// nodes. Prints the test accuracy of each seed and the mean.
//
//   example_cora [DATA_FOLDER] [SEEDS]
//
// The folder holds features.npy, edges.npy, labels.npy, train_nodes.npy, val_nodes.npy and
// test_nodes.npy; without it the example says so and ends.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/random.h"
#include "halo/gnn/conv/gat_conv.h"
#include "halo/gnn/conv/gcn_conv.h"
#include "halo/gnn/train/adam.h"
#include "halo/integration/io/vectors.h"

namespace {

using halo::Executor;
using halo::Matrix;
using halo::MatrixSpan;
using halo::MatrixView;
using halo::attention::Gradients;
using halo::gnn::ConvInput;

constexpr std::size_t kClasses = 7;
constexpr float kWeightDecay = 5e-4F;

// The features, 99 of 100 of which are 0, as sparse rows; with dropout each value is dropped with
// `rate` and the others grow.
class Features {
 public:
  Features() = default;
  explicit Features(const Matrix& dense) {
    std::vector<std::vector<std::uint32_t>> rows(dense.rows());
    for (std::size_t i = 0; i < dense.rows(); ++i) {
      for (std::uint32_t d = 0; d < dense.cols(); ++d) {
        if (dense.row(i)[d] == 0.0F) continue;
        rows[i].push_back(d);
        values_.push_back(dense.row(i)[d]);
      }
    }
    pattern_ = halo::CsrMask::from_rows(std::move(rows), dense.cols());
    dropped_.resize(values_.size());
  }
  std::size_t cols() const { return pattern_.num_columns(); }
  halo::gnn::ConvInput whole() const { return {pattern_, values_}; }
  /// Valid until the next draw.
  halo::gnn::ConvInput draw(float rate, std::uint64_t seed, std::uint64_t stream) {
    halo::Random random(seed, stream);
    for (std::size_t e = 0; e < values_.size(); ++e) {
      dropped_[e] = random.uniform() < rate ? 0.0F : values_[e] / (1.0F - rate);
    }
    return {pattern_, dropped_};
  }

 private:
  halo::CsrMask pattern_;
  std::vector<float> values_, dropped_;
};

struct Cora {
  Features features;  // rows sum to 1
  std::size_t nodes = 0;
  halo::CsrMask edges;
  std::vector<std::int64_t> labels, train, validation, test;
};

Cora load(const std::filesystem::path& folder) {
  Matrix features = halo::io::load_vectors(folder / "features.npy");
  for (std::size_t i = 0; i < features.rows(); ++i) {
    float sum = 0;
    for (std::size_t d = 0; d < features.cols(); ++d) sum += features.row(i)[d];
    if (sum == 0) continue;
    for (std::size_t d = 0; d < features.cols(); ++d) features.row(i)[d] /= sum;
  }
  Cora cora;
  cora.features = Features(features);
  cora.nodes = features.rows();
  const auto edges = halo::io::load_ground_truth(folder / "edges.npy");
  const bool wide = edges.rows == 2 && edges.cols != 2;  // [2, edges] or [edges, 2]
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  const std::size_t count = wide ? edges.cols : edges.rows;
  for (std::size_t e = 0; e < count; ++e) {
    const auto a = static_cast<std::uint32_t>(wide ? edges.row(0)[e] : edges.row(e)[0]);
    const auto b = static_cast<std::uint32_t>(wide ? edges.row(1)[e] : edges.row(e)[1]);
    pairs.emplace_back(a, b);
    pairs.emplace_back(b, a);
  }
  cora.edges = halo::CsrMask::from_pairs(cora.nodes, cora.nodes, pairs);
  cora.labels = halo::io::load_labels(folder / "labels.npy");
  cora.train = halo::io::load_ids(folder / "train_nodes.npy");
  cora.validation = halo::io::load_ids(folder / "val_nodes.npy");
  cora.test = halo::io::load_ids(folder / "test_nodes.npy");
  return cora;
}

// Each value is dropped with `rate`, the others grow; zeros stay and draw nothing. Returns the
// factors.
Matrix dropout(Matrix& x, float rate, std::uint64_t seed, std::uint64_t stream) {
  Matrix factors(x.rows(), x.cols());
  halo::Random random(seed, stream);
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t d = 0; d < x.cols(); ++d) {
      if (x.row(i)[d] == 0.0F) continue;
      factors.row(i)[d] = random.uniform() < rate ? 0.0F : 1.0F / (1.0F - rate);
      x.row(i)[d] *= factors.row(i)[d];
    }
  }
  return factors;
}

// Cross-entropy and accuracy over `nodes`; the gradient by the logits where it is wanted.
struct Judgement {
  double loss = 0, accuracy = 0;
};
Judgement judge(const Matrix& logits, const Cora& cora, const std::vector<std::int64_t>& nodes,
                Matrix* gradient) {
  Judgement judgement;
  const double share = 1.0 / static_cast<double>(nodes.size());
  for (const std::int64_t node : nodes) {
    const auto i = static_cast<std::size_t>(node);
    const auto label = static_cast<std::size_t>(cora.labels[i]);
    const float* row = logits.row(i);
    const float most = *std::max_element(row, row + kClasses);
    double sum = 0;
    for (std::size_t c = 0; c < kClasses; ++c) sum += std::exp(static_cast<double>(row[c] - most));
    judgement.loss += share * (std::log(sum) + most - row[label]);
    judgement.accuracy += row[label] == most ? share : 0.0;
    for (std::size_t c = 0; gradient != nullptr && c < kClasses; ++c) {
      const double p = std::exp(static_cast<double>(row[c] - most)) / sum;
      gradient->row(i)[c] = static_cast<float>(share * (p - (c == label ? 1.0 : 0.0)));
    }
  }
  return judgement;
}

// A network of two layers: how it runs, and how it learns from one pass with dropout.
struct Network {
  std::function<Matrix(const Executor&)> infer;
  std::function<void(std::uint64_t epoch, const Executor&)> learn;
};

// Trains until the validation nodes have done worse in loss and in accuracy, than ever before, for
// `patience` epochs; the test accuracy where both were best. (Velickovic et al., section 3.3 and
// their published program: equal counts as no worse.)
double run(Network& network, const Cora& cora, std::uint64_t epochs, std::uint64_t patience,
           const Executor& executor) {
  double best_loss = std::numeric_limits<double>::infinity(), best_accuracy = 0, test = 0;
  std::uint64_t without_gain = 0;
  for (std::uint64_t epoch = 0; epoch < epochs && without_gain < patience; ++epoch) {
    network.learn(epoch, executor);
    const Matrix logits = network.infer(executor);
    const Judgement validation = judge(logits, cora, cora.validation, nullptr);
    const bool both = validation.loss <= best_loss && validation.accuracy >= best_accuracy;
    if (both) test = judge(logits, cora, cora.test, nullptr).accuracy;
    const bool any = validation.loss <= best_loss || validation.accuracy >= best_accuracy;
    without_gain = any ? 0 : without_gain + 1;
    best_loss = std::min(best_loss, validation.loss);
    best_accuracy = std::max(best_accuracy, validation.accuracy);
  }
  return test;
}

std::vector<MatrixView> views(const Gradients& gradients) {
  std::vector<MatrixView> values;
  for (const auto& named : gradients.named()) values.push_back(named.value);
  return values;
}
template <class Layer>
std::vector<MatrixSpan> spans(Layer& layer) {
  std::vector<MatrixSpan> values;
  layer.visit([&](const std::string&, const MatrixSpan& value) { values.push_back(value); });
  return values;
}

// A head of graph attention with what its training needs.
struct GatHead {
  GatHead(std::size_t in, std::size_t out, const halo::gnn::GatConvOptions& options)
      : layer(in, out, options), gradients(layer.named_parameters()) {}
  void step(float rate) { adam.step(spans(layer), views(gradients), rate); }

  halo::gnn::GatConv layer;
  halo::gnn::GatConv::Saved saved;
  Gradients gradients;
  halo::gnn::Adam adam{{.weight_decay = kWeightDecay}};
};

double train_gcn(const Cora& cora, const halo::gnn::ConvGraph& graph, std::uint64_t seed,
                 const Executor& executor) {
  constexpr std::size_t kHidden = 16;
  constexpr float kDropout = 0.5F, kRate = 0.01F;
  halo::gnn::GcnConvOptions options;
  options.seed = seed;
  Features features = cora.features;
  halo::gnn::GcnConv first(features.cols(), kHidden, options);
  options.seed = seed + 1000;
  halo::gnn::GcnConv second(kHidden, kClasses, options);
  halo::gnn::Adam adam_first({.weight_decay = kWeightDecay}), adam_second;
  Gradients d_first(first.named_parameters()), d_second(second.named_parameters());
  const auto relu = [](Matrix& h) {
    for (std::size_t i = 0; i < h.rows(); ++i) {
      for (std::size_t d = 0; d < h.cols(); ++d) h.row(i)[d] = std::max(h.row(i)[d], 0.0F);
    }
  };
  Network network;
  network.infer = [&](const Executor& on) {
    Matrix h = first.forward(features.whole(), graph, on);
    relu(h);
    return second.forward(h, graph, on);
  };
  network.learn = [&](std::uint64_t epoch, const Executor& on) {
    const ConvInput x = features.draw(kDropout, seed, 2 * epoch);
    Matrix h = first.forward(x, graph, on);
    relu(h);
    const Matrix factors = dropout(h, kDropout, seed, 2 * epoch + 1);
    const Matrix logits = second.forward(h, graph, on);
    Matrix d_logits(logits.rows(), kClasses), d_h(h.rows(), kHidden);
    judge(logits, cora, cora.train, &d_logits);
    d_first.clear();
    d_second.clear();
    const MatrixSpan d_h_span = d_h;
    second.backward(h, graph, d_logits, &d_h_span, d_second, on);
    for (std::size_t i = 0; i < h.rows(); ++i) {  // 0 where relu was: nothing was drawn there
      for (std::size_t d = 0; d < kHidden; ++d) d_h.row(i)[d] *= factors.row(i)[d];
    }
    first.backward(x, graph, d_h, nullptr, d_first, on);
    adam_first.step(spans(first), views(d_first), kRate);
    adam_second.step(spans(second), views(d_second), kRate);
  };
  return run(network, cora, 200, 200, executor);
}

// As the authors' program does it: every head of the first layer drops its own inputs, and values
// and attention weights are dropped in every head.
double train_gat(const Cora& cora, const halo::gnn::ConvGraph& graph, std::uint64_t seed,
                 const Executor& executor) {
  constexpr std::size_t kHidden = 8, kHeads = 8;
  constexpr float kDropout = 0.6F, kRate = 0.005F;
  halo::gnn::GatConvOptions options;
  options.version = halo::gnn::GatVersion::kGat;
  options.dropout = options.value_dropout = kDropout;
  Features features = cora.features;
  std::vector<GatHead> heads;
  for (std::size_t h = 0; h < kHeads; ++h) {
    options.seed = 100 * seed + h;
    heads.emplace_back(features.cols(), kHidden, options);
  }
  options.seed = 100 * seed + kHeads;
  GatHead last(kHidden * kHeads, kClasses, options);
  // Runs the first layer; `draw` gives the features that head h sees.
  const auto hidden = [&](const std::function<ConvInput(std::size_t)>& draw,
                          const std::uint64_t* epoch, const Executor& on) {
    Matrix h(cora.nodes, kHidden * kHeads);
    for (std::size_t k = 0; k < kHeads; ++k) {
      const Matrix part = heads[k].layer.forward(draw(k), graph, heads[k].saved, on, epoch);
      for (std::size_t i = 0; i < part.rows(); ++i) {
        for (std::size_t d = 0; d < kHidden; ++d) {
          const float x = part.row(i)[d];
          h.row(i)[k * kHidden + d] = x < 0 ? std::expm1(x) : x;  // elu
        }
      }
    }
    return h;
  };
  Network network;
  network.infer = [&](const Executor& on) {
    const Matrix h = hidden([&](std::size_t) { return features.whole(); }, nullptr, on);
    return last.layer.forward(h, graph, last.saved, on);
  };
  network.learn = [&](std::uint64_t epoch, const Executor& on) {
    const auto draw = [&](std::size_t k) {
      return features.draw(kDropout, seed, (kHeads + 1) * epoch + k);
    };
    const Matrix active = hidden(draw, &epoch, on);
    Matrix h = Matrix::copy_of(active);
    const Matrix factors = dropout(h, kDropout, seed, (kHeads + 1) * epoch + kHeads);
    const Matrix logits = last.layer.forward(h, graph, last.saved, on, &epoch);
    Matrix d_logits(logits.rows(), kClasses), d_h(h.rows(), h.cols());
    judge(logits, cora, cora.train, &d_logits);
    const MatrixSpan d_h_span = d_h;
    last.gradients.clear();
    last.layer.backward(h, graph, last.saved, d_logits, &d_h_span, last.gradients, on);
    for (std::size_t k = 0; k < kHeads; ++k) {
      Matrix d_part(h.rows(), kHidden);
      for (std::size_t i = 0; i < h.rows(); ++i) {
        for (std::size_t d = 0; d < kHidden; ++d) {
          const std::size_t c = k * kHidden + d;
          const float value = active.row(i)[c];  // elu's slope is e^x = elu(x) + 1 below 0
          d_part.row(i)[d] = d_h.row(i)[c] * factors.row(i)[c] * (value < 0 ? value + 1.0F : 1.0F);
        }
      }
      heads[k].gradients.clear();
      heads[k].layer.backward(draw(k), graph, heads[k].saved, d_part, nullptr, heads[k].gradients,
                              on);
    }
    for (GatHead& head : heads) head.step(kRate);
    last.step(kRate);
  };
  return run(network, cora, 100000, 100, executor);
}

// Trains once a seed, each on one thread.
void report(const char* name, std::uint64_t seeds, const Executor& executor,
            const std::function<double(std::uint64_t seed, const Executor& one)>& train) {
  std::vector<double> accuracies(seeds);
  executor.parallel_for(seeds, 1, [&](std::size_t begin, std::size_t) {
    accuracies[begin] = train(begin + 1, Executor(1));
  });
  double sum = 0;
  std::printf("%s:", name);
  for (const double accuracy : accuracies) {
    std::printf(" %.1f", 100 * accuracy);
    sum += accuracy;
  }
  std::printf("  mean of %d seeds: %.2f%%\n", static_cast<int>(seeds),
              100 * sum / static_cast<double>(seeds));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "../shared/data/cora";
  const std::uint64_t seeds = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10;
  if (!std::filesystem::exists(folder / "features.npy")) {
    std::printf("no Cora in %s: nothing to do\n", folder.c_str());
    return 0;
  }
  try {
    const Cora cora = load(folder);
    const halo::gnn::ConvGraph graph(cora.edges, true);
    const Executor executor;
    report("GCN", seeds, executor, [&](std::uint64_t seed, const Executor& one) {
      return train_gcn(cora, graph, seed, one);
    });
    report("GAT", seeds, executor, [&](std::uint64_t seed, const Executor& one) {
      return train_gat(cora, graph, seed, one);
    });
  } catch (const halo::Error& error) {
    std::fprintf(stderr, "cora: %s\n", error.what());
    return 1;
  }
  return 0;
}
