// The graph convolution of Kipf and Welling, "Semi-supervised classification with graph
// convolutional networks", 2017, with PyG's GCNConv options and parameter names:
//
//   y_i = sum_{j in row i} x_j W^T / sqrt(deg_i deg_j) + b,  deg: row lengths, self loops included
//
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

struct GcnConvOptions {
  bool improved = false;  ///< self loops count 2 (A + 2 I)
  bool normalize = true;  ///< false: a plain sum over the row
  bool bias = true;
  std::uint64_t seed = 1;  ///< of the Glorot-uniform weights
};

class GcnConv {
 public:
  /// Throws kInvalidArgument for 0 channels.
  GcnConv(std::size_t in_channels, std::size_t out_channels, const GcnConvOptions& options = {});

  std::size_t in_channels() const { return weight_.cols(); }
  std::size_t out_channels() const { return weight_.rows(); }

  /// "lin.weight" [out, in] and, with bias, "bias" [1, out].
  std::vector<attention::NamedMatrix> named_parameters() const;
  void visit(const std::function<void(const std::string&, const MatrixSpan&)>& visitor);

  /// x [n, in] -> [n, out]. The graph was made with self loops for PyG's add_self_loops = True.
  /// O(n in out + entries out). Throws kDimensionMismatch.
  Matrix forward(const ConvInput& x, const ConvGraph& graph, const Executor& executor) const;
  /// Adds the parameters' gradients; overwrites d_x [n, in] unless it is null.
  void backward(const ConvInput& x, const ConvGraph& graph, const MatrixView& d_out,
                const MatrixSpan* d_x, attention::Gradients& gradients,
                const Executor& executor) const;

 private:
  std::vector<float> scales(const ConvGraph& graph) const;
  float edge_weight(std::size_t i, std::size_t j, const std::vector<float>& scales) const;

  GcnConvOptions options_;
  Matrix weight_, bias_;
};

/// Fills with uniform values within sqrt(6 / (fan_in + fan_out)) (Glorot, Bengio 2010).
void glorot_uniform(const MatrixSpan& out, std::size_t fan_in, std::size_t fan_out,
                    std::uint64_t seed, std::uint64_t stream);

}  // namespace halo::gnn
