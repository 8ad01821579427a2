// Layers in plain double precision, one number at a time, and their gradients by central
// differences: what backward passes are tested against.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "attention_test_support.h"
#include "halo/attention/projections.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/tensor.h"

namespace halo::attention::test {

using Values = std::vector<double>;

inline Values values_of(const MatrixView& m) {
  Values all;
  for (std::size_t i = 0; i < m.rows; ++i) {
    for (std::size_t c = 0; c < m.cols; ++c) all.push_back(static_cast<double>(m.row(i)[c]));
  }
  return all;
}

/// a [n, k] times b [k, m].
inline Values product(const Values& a, const Values& b, std::size_t k) {
  const std::size_t n = a.size() / k, m = b.size() / k;
  Values out(n * m, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t l = 0; l < k; ++l) {
      for (std::size_t j = 0; j < m; ++j) out[i * m + j] += a[i * k + l] * b[l * m + j];
    }
  }
  return out;
}

/// softmax(scale q k^T) v over the keys j that allowed(i, j); zeros where there is none.
inline Values plain_attention(const Values& q, const Values& k, const Values& v, std::size_t d,
                              double scale,
                              const std::function<bool(std::size_t, std::size_t)>& allowed) {
  const std::size_t n = q.size() / d, m = k.size() / d;
  const std::size_t dv = m == 0 ? d : v.size() / m;
  Values out(n * dv, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    Values p(m, -HUGE_VAL);
    double largest = -HUGE_VAL, sum = 0.0;
    for (std::size_t j = 0; j < m; ++j) {
      if (!allowed(i, j)) continue;
      p[j] = 0.0;
      for (std::size_t c = 0; c < d; ++c) p[j] += scale * q[i * d + c] * k[j * d + c];
      largest = std::max(largest, p[j]);
    }
    if (largest == -HUGE_VAL) continue;
    for (double& s : p) sum += s = std::exp(s - largest);
    for (std::size_t j = 0; j < m; ++j) {
      for (std::size_t c = 0; c < dv; ++c) out[i * dv + c] += p[j] / sum * v[j * dv + c];
    }
  }
  return out;
}

/// Any function of named arrays.
struct Plain {
  std::map<std::string, Values> inputs;
  std::function<Values(const std::map<std::string, Values>&)> forward;

  double loss(const Values& weights) const {
    const Values out = forward(inputs);
    double sum = 0.0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += weights[i] * out[i];
    return sum;
  }
  /// Of sum_i weights_i out_i by inputs[name].
  Values gradient(const std::string& name, const Values& weights) {
    constexpr double kStep = 1e-5;
    Values slopes;
    for (double& value : inputs.at(name)) {
      const double at = value;
      value = at + kStep;
      const double above = loss(weights);
      value = at - kStep;
      slopes.push_back((above - loss(weights)) / (2 * kStep));
      value = at;
    }
    return slopes;
  }
};

/// Within `tolerance` of the largest value, or of 0.1: sums of terms of size 1 may cancel.
inline void expect_gradient(const std::string& name, const MatrixView& got, const Values& want,
                            double tolerance) {
  ASSERT_EQ(got.rows * got.cols, want.size()) << name;
  double largest = 0.1;
  for (const double w : want) largest = std::max(largest, std::fabs(w));
  for (std::size_t i = 0; i < got.rows; ++i) {
    for (std::size_t c = 0; c < got.cols; ++c) {
      ASSERT_NEAR(static_cast<double>(got.row(i)[c]), want[i * got.cols + c], tolerance * largest)
          << name << ", row " << i << ", column " << c;
    }
  }
}

/// head(inputs, h, q, k, v) -> [n, d / heads], wrapped in its projections: a function of "x" (a
/// batch of items, head sees one at a time) and the parameters.
using PlainHead =
    std::function<Values(const std::map<std::string, Values>& inputs, std::size_t b, std::size_t h,
                         const Values& q, const Values& k, const Values& v)>;
inline Plain plain_layer(const TensorView& x, std::size_t heads,
                         const std::vector<NamedMatrix>& parameters, PlainHead head) {
  Plain plain;
  plain.inputs["x"] = values_of(x.flat());
  for (const NamedMatrix& p : parameters) plain.inputs[p.name] = values_of(p.value);
  const std::size_t batch = x.batch, n = x.n, d = x.dim, width = x.dim / heads;
  plain.forward = [=](const std::map<std::string, Values>& in) {
    const auto columns = [&](const Values& all, std::size_t b, std::size_t h) {
      Values part;
      for (std::size_t i = b * n; i < (b + 1) * n; ++i) {
        for (std::size_t c = h * width; c < (h + 1) * width; ++c) part.push_back(all[i * d + c]);
      }
      return part;
    };
    const Values q = product(in.at("x"), in.at("w_q"), d), k = product(in.at("x"), in.at("w_k"), d),
                 v = product(in.at("x"), in.at("w_v"), d);
    Values mixed(q.size());
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t h = 0; h < heads; ++h) {
        const Values out = head(in, b, h, columns(q, b, h), columns(k, b, h), columns(v, b, h));
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t c = 0; c < width; ++c) {
            mixed[(b * n + i) * d + h * width + c] = out[i * width + c];
          }
        }
      }
    }
    return product(mixed, in.at("w_o"), d);
  };
  return plain;
}

/// The output and every gradient of `layer` at x against `plain`; and the same bytes at 1 and 4
/// threads. forward(x, out, saved, executor) and backward as the layers'.
template <class Layer, class Forward>
void check_layer_gradients(const Layer& layer, const Tensor& x, const Tensor& weights, Plain plain,
                           double tolerance, const Forward& forward) {
  const Executor one(1), four(4);
  const auto run = [&](const Executor& executor, Tensor& out, Tensor& d_x) {
    SavedForward saved;
    forward(x, out, saved, executor);
    Gradients gradients(layer.named_parameters());
    TensorSpan span = d_x;
    layer.backward(x, weights, saved, &span, gradients, executor);
    return gradients;
  };
  Tensor out(x.batch(), x.n(), x.dim()), again(x.batch(), x.n(), x.dim());
  Tensor d_x(x.batch(), x.n(), x.dim()), d_x_again(x.batch(), x.n(), x.dim());
  const Gradients gradients = run(one, out, d_x), others = run(four, again, d_x_again);
  const Values w = values_of(weights.view().flat());
  expect_gradient("output", out.view().flat(), plain.forward(plain.inputs), tolerance);
  expect_gradient("x", d_x.view().flat(), plain.gradient("x", w), tolerance);
  EXPECT_TRUE(same_bytes(out, again));
  EXPECT_TRUE(same_bytes(d_x, d_x_again));
  const std::vector<NamedMatrix> named = gradients.named(), named_again = others.named();
  for (std::size_t p = 0; p < named.size(); ++p) {
    expect_gradient(named[p].name, named[p].value, plain.gradient(named[p].name, w), tolerance);
    expect_same_bytes(named[p].value, named_again[p].value);
  }
}

}  // namespace halo::attention::test
