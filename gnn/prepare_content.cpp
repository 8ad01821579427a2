#include "halo/gnn/prepare_content.h"

#include <algorithm>

#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kSpectrumSample = 20000;
constexpr std::size_t kRowsAtOnce = 1024;
constexpr double kVaries = 1e-9;  // of the largest variance
constexpr double kLargestSpectralWeight = 0.5;

// Vectors of unit length: a copy, since an ip index stores them as they came.
Matrix unit_copy(const MatrixView& vectors, const Executor& executor) {
  Matrix unit = Matrix::padded(vectors.rows, vectors.cols);
  executor.parallel_for(vectors.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::copy_n(vectors.row(i), vectors.cols, unit.row(i));
      kernels::normalise(unit.row(i), unit.cols());
    }
  });
  return unit;
}

// How evenly the variance is spread over the dimensions that vary at all: 1 for white noise.
double flatness_of(const Spectrum& spectrum, std::size_t rows) {
  const auto& values = spectrum.eigenvalues;
  if (spectrum.participation_ratio == 0) return 1.0;
  const auto varying = static_cast<std::size_t>(std::count_if(
      values.begin(), values.end(), [&](double v) { return v > kVaries * values.front(); }));
  const std::size_t limit = rows > 1 ? rows - 1 : 1;
  const auto effective = static_cast<double>(std::max<std::size_t>(1, std::min(varying, limit)));
  return std::min(1.0, spectrum.participation_ratio / effective);
}

}  // namespace

RefinementParts prepare_content(const MatrixView& vectors, bool unit_input, const CsrView& windows,
                                const LayerNodes& global_nodes, const RefineOptions& options,
                                const Executor& executor, const Job& job) {
  options.validate();
  RefinementParts parts;
  parts.size = vectors.rows;
  parts.dim = vectors.cols;
  parts.unit_input = unit_input;
  parts.options = options;
  for (std::size_t t = 0; t < options.layers; ++t) {
    const auto nodes = global_nodes(t);
    parts.global_nodes.emplace_back(nodes.begin(), nodes.end());
  }

  Matrix unit;
  if (unit_input) unit = unit_copy(vectors, executor);
  const MatrixView input = unit_input ? unit.view() : vectors;
  Spectrum spectrum;
  {
    const Stage stage(job, "spectrum", 1);
    spectrum = covariance_spectrum(input, kSpectrumSample, executor);
    job.advance(1);
  }
  job.check();
  parts.participation_ratio = spectrum.participation_ratio;
  parts.flatness = flatness_of(spectrum, vectors.rows);

  const double spectral_weight = kLargestSpectralWeight * (1.0 - parts.flatness);
  parts.heads.push_back(
      {"c", static_cast<float>(1.0 - spectral_weight), centred_projection(spectrum), {}});
  if (spectral_weight > 0) {
    parts.heads.push_back({"s",
                           static_cast<float>(spectral_weight),
                           spectral_projection(spectrum, options.spectral_rank),
                           {}});
  }
  const Stage stage(job, "GNN layers", parts.heads.size() * options.layers);
  for (ContentHead& head : parts.heads) {
    Matrix x = Matrix::padded(input.rows, head.projection.out_dim());
    head.projection.apply(input, x, executor);
    const bool identity = head.projection.basis().rows == 0;
    run_content_layers(
        std::move(x), windows, global_nodes, options.layers, options.layer,
        [&](std::size_t t, const MatrixView& state) {
          head.states.push_back(t == 0 && identity ? HalfMatrix() : HalfMatrix::rounded(state));
        },
        executor, job);
  }
  return parts;
}

}  // namespace halo::gnn
