#include "halo/gnn/conv/gat_conv.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "halo/gnn/conv/gcn_conv.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;

void add_to_rows(const MatrixSpan& rows, const MatrixView& bias) {
  for (std::size_t i = 0; i < rows.rows; ++i) {
    kernels::axpy(1.0F, bias.row(0), rows.row(i), rows.cols);
  }
}
void add_rows(const MatrixView& rows, const MatrixSpan& sum) {
  for (std::size_t i = 0; i < rows.rows; ++i) {
    kernels::axpy(1.0F, rows.row(i), sum.row(0), rows.cols);
  }
}

void require_shapes(const ConvInput& x, std::size_t nodes, std::size_t channels) {
  if (x.rows() != nodes || x.cols() != channels) {
    throw Error(ErrorCode::kDimensionMismatch, "graph attention layer: input of another shape");
  }
}

}  // namespace

void GatConvOptions::validate() const {
  const bool holds = heads >= 1 && std::isfinite(negative_slope) && dropout >= 0 && dropout < 1 &&
                     value_dropout >= 0 && value_dropout < 1 &&
                     (version == GatVersion::kGat || version == GatVersion::kGatV2);
  if (!holds) throw Error(ErrorCode::kInvalidArgument, "GAT: an option is out of range");
}

GatConv::GatConv(std::size_t in_channels, std::size_t out_channels, const GatConvOptions& options)
    : options_(options), channels_(out_channels) {
  options.validate();
  if (in_channels == 0 || out_channels == 0) {
    throw Error(ErrorCode::kInvalidArgument, "GAT: channels must be at least 1");
  }
  const std::size_t width = options.heads * out_channels;
  left_ = Matrix(width, in_channels);
  glorot_uniform(left_, in_channels, width, options.seed, 0);
  att_ = Matrix(options.heads, out_channels);
  glorot_uniform(att_, options.heads, out_channels, options.seed, 1);
  if (v2()) left_bias_ = Matrix(1, width);
  if (two_sided()) {
    right_ = Matrix(width, in_channels);
    right_bias_ = Matrix(1, width);
    glorot_uniform(right_, in_channels, width, options.seed, 2);
  }
  if (!v2()) {
    att_dst_ = Matrix(options.heads, out_channels);
    glorot_uniform(att_dst_, options.heads, out_channels, options.seed, 3);
  }
  if (options.bias) bias_ = Matrix(1, out_dim());
}

std::vector<attention::NamedMatrix> GatConv::named_parameters() const {
  std::vector<attention::NamedMatrix> named;
  if (v2()) {
    named = {{"lin_l.weight", left_.view()}, {"lin_l.bias", left_bias_.view()}};
    if (two_sided()) {
      named.push_back({"lin_r.weight", right_.view()});
      named.push_back({"lin_r.bias", right_bias_.view()});
    }
    named.push_back({"att", att_.view()});
  } else {
    named = {
        {"lin_src.weight", left_.view()}, {"att_src", att_.view()}, {"att_dst", att_dst_.view()}};
  }
  if (options_.bias) named.push_back({"bias", bias_.view()});
  return named;
}

void GatConv::visit(const std::function<void(const std::string&, const MatrixSpan&)>& visitor) {
  if (v2()) {
    visitor("lin_l.weight", left_);
    visitor("lin_l.bias", left_bias_);
    if (two_sided()) {
      visitor("lin_r.weight", right_);
      visitor("lin_r.bias", right_bias_);
    }
    visitor("att", att_);
  } else {
    visitor("lin_src.weight", left_);
    visitor("att_src", att_);
    visitor("att_dst", att_dst_);
  }
  if (options_.bias) visitor("bias", bias_);
}

// Of one edge and head, from the head's rows of l_j and r_i; `slope` is GAT's leaky_relu's.
float GatConv::logit(const float* left, const float* right, std::size_t head, float& slope) const {
  if (!v2()) {
    const float sum = kernels::dot(att_.row(head), left, channels_) +
                      kernels::dot(att_dst_.row(head), right, channels_);
    slope = sum > 0 ? 1.0F : options_.negative_slope;
    return slope * sum;
  }
  float sum = 0;
  const float* att = att_.row(head);
  for (std::size_t c = 0; c < channels_; ++c) {
    const float s = left[c] + right[c];
    sum += att[c] * (s > 0 ? s : options_.negative_slope * s);
  }
  return sum;
}

void GatConv::drop_values(std::uint64_t stream, Saved& saved, const Executor& executor) const {
  saved.values = Matrix(saved.left.rows(), saved.left.cols());
  saved.kept_values = Matrix(saved.left.rows(), saved.left.cols());
  const float keep = 1.0F / (1.0F - options_.value_dropout);
  executor.parallel_for(saved.left.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      Random random(options_.seed ^ 0x7a15e5ULL, stream * saved.left.rows() + i);
      for (std::size_t d = 0; d < saved.left.cols(); ++d) {
        const float kept = random.uniform() < options_.value_dropout ? 0.0F : keep;
        saved.kept_values.row(i)[d] = kept;
        saved.values.row(i)[d] = kept * saved.left.row(i)[d];
      }
    }
  });
}

void GatConv::attend_row(std::size_t i, const ConvGraph& graph, Saved& saved,
                         const std::uint64_t* dropout_stream, float* out) const {
  const std::uint64_t begin = graph.mask().row_offsets()[i],
                      end = graph.mask().row_offsets()[i + 1];
  const float* right = (two_sided() ? saved.right : saved.left).row(i);
  const float share = options_.concat ? 1.0F : 1.0F / static_cast<float>(options_.heads);
  const float keep = 1.0F / (1.0F - options_.dropout);
  Random random(options_.seed ^ 0x9a7d509ULL,
                dropout_stream == nullptr ? 0 : *dropout_stream * graph.nodes() + i);
  for (std::size_t head = 0; head < options_.heads; ++head) {
    const std::size_t first = head * channels_;
    float most = -std::numeric_limits<float>::infinity(), sum = 0;
    for (std::uint64_t e = begin; e < end; ++e) {
      float slope = 1.0F;
      saved.weights.row(e)[head] =
          logit(saved.left.row(graph.mask().columns()[e]) + first, right + first, head, slope);
      saved.slopes.row(e)[head] = slope;
      most = std::max(most, saved.weights.row(e)[head]);
    }
    for (std::uint64_t e = begin; e < end; ++e) {
      sum += saved.weights.row(e)[head] = std::exp(saved.weights.row(e)[head] - most);
    }
    float* to = out + (options_.concat ? first : 0);
    for (std::uint64_t e = begin; e < end; ++e) {
      saved.weights.row(e)[head] /= sum;
      saved.kept.row(e)[head] = dropout_stream == nullptr             ? 1.0F
                                : random.uniform() < options_.dropout ? 0.0F
                                                                      : keep;
      kernels::axpy(share * saved.weights.row(e)[head] * saved.kept.row(e)[head],
                    saved.summed().row(graph.mask().columns()[e]) + first, to, channels_);
    }
  }
}

Matrix GatConv::forward(const ConvInput& x, const ConvGraph& graph, Saved& saved,
                        const Executor& executor, const std::uint64_t* dropout_stream) const {
  require_shapes(x, graph.nodes(), in_channels());
  const std::size_t width = left_.rows(), entries = graph.mask().entries();
  saved.left = Matrix(x.rows(), width);
  x.times_transposed(left_, saved.left, executor);
  if (v2()) add_to_rows(saved.left, left_bias_);
  if (two_sided()) {
    saved.right = Matrix(x.rows(), width);
    x.times_transposed(right_, saved.right, executor);
    add_to_rows(saved.right, right_bias_);
  }
  saved.values = Matrix();
  saved.kept_values = Matrix();
  if (dropout_stream != nullptr && options_.value_dropout > 0) {
    drop_values(*dropout_stream, saved, executor);
  }
  saved.slopes = Matrix(entries, options_.heads);
  saved.weights = Matrix(entries, options_.heads);
  saved.kept = Matrix(entries, options_.heads);
  Matrix out(x.rows(), out_dim());
  executor.parallel_for(x.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      attend_row(i, graph, saved, dropout_stream, out.row(i));
    }
  });
  if (options_.bias) add_to_rows(out, bias_);
  return out;
}

void GatConv::backward(const ConvInput& x, const ConvGraph& graph, const Saved& saved,
                       const MatrixView& d_out, const MatrixSpan* d_x,
                       attention::Gradients& gradients, const Executor& executor) const {
  require_shapes(x, graph.nodes(), in_channels());
  require_shapes(d_out, graph.nodes(), out_dim());
  const CsrMask& mask = graph.mask();
  const std::size_t heads = options_.heads, width = left_.rows();
  const float share = options_.concat ? 1.0F : 1.0F / static_cast<float>(heads);
  const Matrix& right = two_sided() ? saved.right : saved.left;
  Matrix d_left(x.rows(), width), d_right(x.rows(), width), d_logits(mask.entries(), heads);
  const auto d_head = [&](std::size_t i, std::size_t head) {
    return d_out.row(i) + (options_.concat ? head * channels_ : 0);
  };
  // The gradient by one edge's pair of rows, added to `to`: the same for l_j and for r_i in GATv2.
  const auto add_pair = [&](std::size_t i, std::size_t j, std::size_t head, float slope,
                            float* to) {
    const float *l = saved.left.row(j) + head * channels_, *r = right.row(i) + head * channels_;
    const float* att = att_.row(head);
    for (std::size_t c = 0; c < channels_; ++c) {
      to[c] += slope * att[c] * (l[c] + r[c] > 0 ? 1.0F : options_.negative_slope);
    }
  };
  // By rows: the logits, and what reaches r_i.
  executor.parallel_for(x.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint64_t from = mask.row_offsets()[i], to = mask.row_offsets()[i + 1];
      for (std::size_t head = 0; head < heads; ++head) {
        float mean = 0;
        for (std::uint64_t e = from; e < to; ++e) {
          const float* l = saved.summed().row(mask.columns()[e]) + head * channels_;
          const float slope =
              share * saved.kept.row(e)[head] * kernels::dot(d_head(i, head), l, channels_);
          d_logits.row(e)[head] = slope;
          mean += saved.weights.row(e)[head] * slope;
        }
        float* d_r = d_right.row(i) + head * channels_;
        for (std::uint64_t e = from; e < to; ++e) {
          float& slope = d_logits.row(e)[head];
          slope = saved.weights.row(e)[head] * (slope - mean) * saved.slopes.row(e)[head];
          if (v2()) {
            add_pair(i, mask.columns()[e], head, slope, d_r);
          } else {
            kernels::axpy(slope, att_dst_.row(head), d_r, channels_);
          }
        }
      }
    }
  });
  // By columns: what reaches l_j, as a value and through the logits.
  executor.parallel_for(x.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t j = begin; j < end; ++j) {
      const std::uint64_t first = graph.transposed().row_offsets()[j];
      const auto receivers = graph.transposed().row(j);
      for (std::size_t k = 0; k < receivers.size(); ++k) {
        const std::uint64_t e = graph.edge_of()[first + k];
        for (std::size_t head = 0; head < heads; ++head) {
          kernels::axpy(share * saved.weights.row(e)[head] * saved.kept.row(e)[head],
                        d_head(receivers[k], head), d_left.row(j) + head * channels_, channels_);
        }
      }
      for (std::size_t d = 0; !saved.kept_values.empty() && d < width; ++d) {
        d_left.row(j)[d] *= saved.kept_values.row(j)[d];
      }
      for (std::size_t k = 0; k < receivers.size(); ++k) {
        const std::uint64_t e = graph.edge_of()[first + k];
        const std::size_t i = receivers[k];
        for (std::size_t head = 0; head < heads; ++head) {
          float* d_l = d_left.row(j) + head * channels_;
          if (v2()) {
            add_pair(i, j, head, d_logits.row(e)[head], d_l);
          } else {
            kernels::axpy(d_logits.row(e)[head], att_.row(head), d_l, channels_);
          }
        }
      }
    }
  });
  // The attention vectors, in the order of the edges.
  const MatrixSpan d_att = gradients.at(v2() ? "att" : "att_src");
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::uint64_t e = mask.row_offsets()[i]; e < mask.row_offsets()[i + 1]; ++e) {
      for (std::size_t head = 0; head < heads; ++head) {
        const float slope = d_logits.row(e)[head];
        const float* l = saved.left.row(mask.columns()[e]) + head * channels_;
        const float* r = right.row(i) + head * channels_;
        float* to = d_att.row(head);
        if (v2()) {
          for (std::size_t c = 0; c < channels_; ++c) {
            const float s = l[c] + r[c];
            to[c] += slope * (s > 0 ? s : options_.negative_slope * s);
          }
        } else {
          kernels::axpy(slope, l, to, channels_);
          kernels::axpy(slope, r, gradients.at("att_dst").row(head), channels_);
        }
      }
    }
  }
  if (options_.bias) add_rows(d_out, gradients.at("bias"));
  if (two_sided()) {
    x.add_weight_gradient(d_right, gradients.at("lin_r.weight"), executor);
    add_rows(d_right, gradients.at("lin_r.bias"));
  } else {
    for (std::size_t i = 0; i < x.rows(); ++i) {
      kernels::axpy(1.0F, d_right.row(i), d_left.row(i), width);
    }
  }
  x.add_weight_gradient(d_left, gradients.at(v2() ? "lin_l.weight" : "lin_src.weight"), executor);
  if (v2()) add_rows(d_left, gradients.at("lin_l.bias"));
  if (d_x == nullptr) return;
  kernels::gemm(d_left, left_, *d_x, executor);
  if (two_sided()) {
    Matrix other(x.rows(), in_channels());
    kernels::gemm(d_right, right_, other, executor);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      kernels::axpy(1.0F, other.row(i), d_x->row(i), other.cols());
    }
  }
}

}  // namespace halo::gnn
