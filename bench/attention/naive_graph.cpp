#include "naive_graph.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <vector>

namespace halo::bench {
namespace {

float as_float(float x) { return x; }
float as_float(std::uint16_t x) { return std::bit_cast<float>(std::uint32_t{x} << 16); }

// Uninitialised, as a tensor library allocates.
struct Floats {
  explicit Floats(std::size_t n) : values(std::make_unique_for_overwrite<float[]>(n)) {}
  float* row(std::size_t i, std::size_t width) const { return values.get() + i * width; }
  std::unique_ptr<float[]> values;
};

template <class T>
Floats gather(const T* rows, const std::uint32_t* index, std::size_t edges, std::size_t width) {
  Floats out(edges * width);
  for (std::size_t e = 0; e < edges; ++e) {
    const T* from = rows + index[e] * width;
    float* to = out.row(e, width);
    for (std::size_t c = 0; c < width; ++c) to[c] = as_float(from[c]);
  }
  return out;
}

// [edges, heads] products of the rows of x and y, head by head.
Floats dots(const NaiveGraph& g, const Floats& x, const Floats& y, float scale) {
  Floats out(g.edges * g.heads);
  for (std::size_t i = 0; i < g.edges * g.heads; ++i) {
    const float *a = x.row(i, g.d), *b = y.row(i, g.d);
    float sums[8] = {};
    for (std::size_t c = 0; c < g.d; c += 8) {
      for (std::size_t l = 0; l < 8; ++l) sums[l] += a[c + l] * b[c + l];
    }
    float sum = 0;
    for (const float s : sums) sum += s;
    out.values[i] = scale * sum;
  }
  return out;
}

void scatter_add(const NaiveGraph& g, const std::uint32_t* index, const Floats& weights,
                 const Floats& rows, float* out) {
  const std::size_t width = g.heads * g.d;
  std::fill_n(out, g.n * width, 0.0F);
  for (std::size_t e = 0; e < g.edges; ++e) {
    for (std::size_t h = 0; h < g.heads; ++h) {
      const float w = weights.row(e, g.heads)[h];
      const float* from = rows.row(e, width) + h * g.d;
      float* to = out + index[e] * width + h * g.d;
      for (std::size_t c = 0; c < g.d; ++c) to[c] += w * from[c];
    }
  }
}

// Softmax of [edges, heads] over the edges of each row, in place.
void segment_softmax(const NaiveGraph& g, const Floats& scores) {
  std::vector<float> high(g.n * g.heads, -INFINITY), sum(g.n * g.heads, 0.0F);
  const auto each = [&](const auto& body) {
    for (std::size_t e = 0; e < g.edges; ++e) {
      for (std::size_t h = 0; h < g.heads; ++h) {
        body(scores.row(e, g.heads)[h], g.from[e] * g.heads + h);
      }
    }
  };
  each([&](float& s, std::size_t i) { high[i] = std::max(high[i], s); });
  each([&](float& s, std::size_t i) { s -= high[i]; });
  for (std::size_t i = 0; i < g.edges * g.heads; ++i) scores.values[i] = std::exp(scores.values[i]);
  each([&](float& s, std::size_t i) { sum[i] += s; });
  each([&](float& s, std::size_t i) { s /= sum[i]; });
}

template <class T>
void forward(const NaiveGraph& g, const float* q, const T* k, const T* v, float scale, float* out) {
  const std::size_t width = g.heads * g.d;
  const Floats q_e = gather(q, g.from, g.edges, width), k_e = gather(k, g.to, g.edges, width);
  const Floats p = dots(g, q_e, k_e, scale);
  segment_softmax(g, p);
  const Floats v_e = gather(v, g.to, g.edges, width);
  scatter_add(g, g.from, p, v_e, out);
}

template <class T>
void backward(const NaiveGraph& g, const float* q, const T* k, const T* v, float scale,
              const float* d_out, float* d_q, float* d_k, float* d_v) {
  const std::size_t width = g.heads * g.d;
  const Floats q_e = gather(q, g.from, g.edges, width), k_e = gather(k, g.to, g.edges, width);
  const Floats p = dots(g, q_e, k_e, scale);
  segment_softmax(g, p);
  const Floats v_e = gather(v, g.to, g.edges, width);
  const Floats slopes_e = gather(d_out, g.from, g.edges, width);
  scatter_add(g, g.to, p, slopes_e, d_v);
  const Floats slopes = dots(g, slopes_e, v_e, 1.0F);
  std::vector<float> mean(g.n * g.heads, 0.0F);
  for (std::size_t e = 0; e < g.edges; ++e) {
    for (std::size_t h = 0; h < g.heads; ++h) {
      mean[g.from[e] * g.heads + h] += p.row(e, g.heads)[h] * slopes.row(e, g.heads)[h];
    }
  }
  for (std::size_t e = 0; e < g.edges; ++e) {
    for (std::size_t h = 0; h < g.heads; ++h) {
      float& slope = slopes.row(e, g.heads)[h];
      slope = scale * p.row(e, g.heads)[h] * (slope - mean[g.from[e] * g.heads + h]);
    }
  }
  scatter_add(g, g.from, slopes, k_e, d_q);
  scatter_add(g, g.to, slopes, q_e, d_k);
}

}  // namespace

void gather_scatter_forward(const NaiveGraph& graph, const float* q, const void* k, const void* v,
                            int bits, float scale, float* out) {
  if (bits == 16) {
    forward(graph, q, static_cast<const std::uint16_t*>(k), static_cast<const std::uint16_t*>(v),
            scale, out);
  } else {
    forward(graph, q, static_cast<const float*>(k), static_cast<const float*>(v), scale, out);
  }
}

void gather_scatter_backward(const NaiveGraph& graph, const float* q, const void* k, const void* v,
                             int bits, float scale, const float* d_out, float* d_q, float* d_k,
                             float* d_v) {
  if (bits == 16) {
    backward(graph, q, static_cast<const std::uint16_t*>(k), static_cast<const std::uint16_t*>(v),
             scale, d_out, d_q, d_k, d_v);
  } else {
    backward(graph, q, static_cast<const float*>(k), static_cast<const float*>(v), scale, d_out,
             d_q, d_k, d_v);
  }
}

}  // namespace halo::bench
