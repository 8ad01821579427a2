// Graph attention by learned logits, with PyG's GATConv and GATv2Conv options and parameter names.
// Per head, over the row of node i:
//
//   GAT:   logit_ij = leaky_relu(<att_src, l_j> + <att_dst, l_i>),  l = x lin.weight^T
//   GATv2: logit_ij = <att, leaky_relu(l_j + r_i)>,  l = x lin_l.weight^T + lin_l.bias, r likewise
//   y_i = sum_j softmax_j(logit_ij) l_j, heads side by side or averaged, + bias
//
// Sources: Velickovic et al., "Graph attention networks", 2018; Brody, Alon, Yahav, "How attentive
// are graph attention networks?", 2022.
// Thread-safety: forward and backward are const; parameters change through visit() only, by the
// layer's owner.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "halo/attention/projections.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/gnn/conv/conv_graph.h"
#include "halo/gnn/conv/conv_input.h"

namespace halo::gnn {

enum class GatVersion : std::uint32_t { kGat = 1, kGatV2 = 2 };

struct GatConvOptions {
  GatVersion version = GatVersion::kGatV2;
  std::size_t heads = 1;
  bool concat = true;           ///< false: heads are averaged
  float negative_slope = 0.2F;  ///< of leaky_relu
  float dropout = 0.0F;         ///< share of the attention weights dropped while training, below 1
  /// Share of the values l_j dropped while training, below 1, as the paper's program does; logits
  /// see all of them.
  float value_dropout = 0.0F;
  bool bias = true;
  bool share_weights = false;  ///< GATv2: lin_r is lin_l
  std::uint64_t seed = 1;      ///< of the Glorot-uniform weights

  void validate() const;  ///< throws kInvalidArgument
};

class GatConv {
 public:
  /// Throws kInvalidArgument for 0 channels or options that do not validate.
  GatConv(std::size_t in_channels, std::size_t out_channels, const GatConvOptions& options = {});

  const GatConvOptions& options() const { return options_; }
  std::size_t in_channels() const { return left_.cols(); }
  /// Of the output: heads x out_channels where they are concatenated.
  std::size_t out_dim() const { return options_.concat ? left_.rows() : channels_; }

  /// GAT: "lin_src.weight" [heads out, in], "att_src", "att_dst" [heads, out]. GATv2:
  /// "lin_l.weight", "lin_l.bias" [1, heads out], the same for "lin_r" unless shared, "att" [heads,
  /// out]. Both: "bias" [1, out_dim].
  std::vector<attention::NamedMatrix> named_parameters() const;
  void visit(const std::function<void(const std::string&, const MatrixSpan&)>& visitor);

  /// What backward needs of a forward pass.
  struct Saved {
    Matrix left, right;  ///< [n, heads out]; right: GATv2 without shared weights
    Matrix slopes;       ///< [entries, heads]: of leaky_relu, GAT only
    Matrix weights;      ///< [entries, heads]: the softmax
    Matrix kept;         ///< [entries, heads]: 0 or 1 / (1 - dropout)
    Matrix values;       ///< [n, heads out]: what is summed; empty where it is left
    Matrix kept_values;  ///< [n, heads out]: 0 or 1 / (1 - value_dropout); empty likewise

    const Matrix& summed() const { return values.empty() ? left : values; }
  };

  /// x [n, in] -> [n, out_dim]. With a `dropout_stream` attention weights and values are dropped,
  /// drawn from that stream of the seed: another one every step; without, none. A node without
  /// edges gets the bias alone. O(n in heads out + entries heads out). Throws kDimensionMismatch.
  Matrix forward(const ConvInput& x, const ConvGraph& graph, Saved& saved, const Executor& executor,
                 const std::uint64_t* dropout_stream = nullptr) const;
  /// Adds the parameters' gradients; overwrites d_x [n, in] unless it is null.
  void backward(const ConvInput& x, const ConvGraph& graph, const Saved& saved,
                const MatrixView& d_out, const MatrixSpan* d_x, attention::Gradients& gradients,
                const Executor& executor) const;

 private:
  bool v2() const { return options_.version == GatVersion::kGatV2; }
  bool two_sided() const { return v2() && !options_.share_weights; }
  float logit(const float* left, const float* right, std::size_t head, float& slope) const;
  void drop_values(std::uint64_t stream, Saved& saved, const Executor& executor) const;
  void attend_row(std::size_t i, const ConvGraph& graph, Saved& saved,
                  const std::uint64_t* dropout_stream, float* out) const;

  GatConvOptions options_;
  std::size_t channels_;
  Matrix left_, left_bias_, right_, right_bias_;  // the rest of lin_r and the biases: GATv2
  Matrix att_, att_dst_;                          // att_src and att_dst, or att
  Matrix bias_;
};

}  // namespace halo::gnn
