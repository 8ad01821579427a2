// The backward functions of head_attention.h against central differences in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gradient_check.h"
#include "halo/attention/head_attention.h"
#include "halo/attention/sparse_mask.h"

namespace halo::attention {
namespace {

using test::Values;
using Allowed = std::function<bool(std::size_t, std::size_t)>;
using Backward = std::function<void(const HeadGradients&, const Executor&)>;

struct Head {
  Head(std::size_t n, std::size_t m, std::size_t d, std::size_t dv)
      : q(test::random_matrix(n, d, 1)),
        k(test::random_matrix(m, d, 2)),
        v(test::random_matrix(m, dv, 3)),
        d_out(test::random_matrix(n, dv, 4)) {}
  Matrix q, k, v, d_out;

  test::Plain plain(double scale, const Allowed& allowed) const {
    test::Plain plain;
    plain.inputs = {
        {"q", test::values_of(q)}, {"k", test::values_of(k)}, {"v", test::values_of(v)}};
    const std::size_t d = q.cols();
    plain.forward = [=](const std::map<std::string, Values>& in) {
      return test::plain_attention(in.at("q"), in.at("k"), in.at("v"), d, scale, allowed);
    };
    return plain;
  }

  // Gradients start as NaN, so that a value nobody writes is seen.
  void check(test::Plain plain, const Backward& backward, double tolerance = 1e-5) const {
    Matrix got[2][3];
    for (std::size_t run = 0; run < 2; ++run) {
      const Executor executor(run == 0 ? 1 : 4);
      const MatrixView like[3] = {q, k, v};
      for (std::size_t g = 0; g < 3; ++g) {
        got[run][g] = Matrix(like[g].rows, like[g].cols);
        std::fill_n(got[run][g].data(), like[g].rows * like[g].cols, std::nanf(""));
      }
      backward({got[run][0], got[run][1], got[run][2]}, executor);
    }
    const char* names[3] = {"q", "k", "v"};
    for (std::size_t g = 0; g < 3; ++g) {
      test::expect_gradient(names[g], got[0][g], plain.gradient(names[g], test::values_of(d_out)),
                            tolerance);
      test::expect_same_bytes(got[0][g], got[1][g]);
    }
  }
};

CsrMask ragged_mask(std::size_t n) {
  std::vector<std::vector<std::uint32_t>> rows(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i % 3; i % 4 != 1 && j < n; j += 1 + i % 5) {
      rows[i].push_back(static_cast<std::uint32_t>(j));
    }
  }
  return CsrMask::from_rows(std::move(rows), n);
}

void check_all(std::size_t n, std::size_t d) {
  SCOPED_TRACE("n " + std::to_string(n) + ", head_dim " + std::to_string(d));
  const Head h(n, n, d, d);
  const float scale = 0.7F;
  const CsrMask mask = ragged_mask(n);
  const auto all = [](std::size_t, std::size_t) { return true; };
  h.check(h.plain(0.7F, all), [&](const HeadGradients& g, const Executor& e) {
    standard_attention_backward(h.q, h.k, h.v, scale, h.d_out, g, e);
  });
  h.check(h.plain(0.7F, all), [&](const HeadGradients& g, const Executor& e) {
    flash_attention_backward(h.q, h.k, h.v, scale, h.d_out, g, e);
  });
  h.check(h.plain(0.7F, [&](std::size_t i, std::size_t j) { return mask.contains(i, j); }),
          [&](const HeadGradients& g, const Executor& e) {
            csr_attention_backward(h.q, h.k, h.v, mask, scale, h.d_out, g, e);
          });
  h.check(h.plain(0.7F, [&](std::size_t i, std::size_t j) { return mask.contains(i, j); }),
          [&](const HeadGradients& g, const Executor& e) {
            masked_attention_backward(h.q, h.k, h.v, mask, scale, h.d_out, g, e);
          });
  for (const std::size_t size : {std::size_t{1}, std::size_t{4}}) {
    const BlockMask blocks = BlockMask::covering(mask, size);
    const CsrMask entries = blocks.to_csr();
    h.check(h.plain(0.7F, [&](std::size_t i, std::size_t j) { return entries.contains(i, j); }),
            [&](const HeadGradients& g, const Executor& e) {
              block_attention_backward(h.q, h.k, h.v, blocks, scale, h.d_out, g, e);
            });
  }
  h.check(h.plain(0.7F, [](std::size_t i, std::size_t j) { return (i > j ? i - j : j - i) <= 2; }),
          [&](const HeadGradients& g, const Executor& e) {
            window_attention_backward(h.q, h.k, h.v, 2, scale, h.d_out, g, e);
          });
  const std::vector<std::uint32_t> globals =
      n == 0 ? std::vector<std::uint32_t>{}
             : std::vector<std::uint32_t>{static_cast<std::uint32_t>(n - 1), 0, 0};
  h.check(h.plain(0.7F, [&](std::size_t, std::size_t j) { return j == 0 || j + 1 == n; }),
          [&](const HeadGradients& g, const Executor& e) {
            global_attention_backward(h.q, h.k, h.v, globals, scale, h.d_out, g, e);
          });
  std::vector<std::vector<std::uint32_t>> layers(2);
  for (std::uint32_t i = 0; i < n; i += 2) layers[0].push_back(i);
  for (std::uint32_t i = 0; i < n; i += 6) layers[1].push_back(i);
  const LayerMask layer_mask = HnswMask::from_layers(n, layers);
  const CsrMask layer_entries = layer_mask.to_csr();
  h.check(h.plain(0.7F, [&](std::size_t i, std::size_t j) { return layer_entries.contains(i, j); }),
          [&](const HeadGradients& g, const Executor& e) {
            layer_attention_backward(h.q, h.k, h.v, layer_mask, scale, h.d_out, g, e);
          });
}

TEST(HeadBackward, EveryFunctionAtAwkwardShapes) {
  for (const std::size_t n : {0U, 1U, 2U, 13U}) {
    for (const std::size_t d : {1U, 5U}) check_all(n, d);
  }
  check_all(7, 17);
}

TEST(HeadBackward, QueriesAndKeysMayDifferInNumberAndValuesInDimension) {
  const Head h(5, 9, 4, 6);
  const CsrMask mask = CsrMask::from_rows({{8, 0}, {}, {3}, {1, 2, 3}, {4}}, 9);
  const auto all = [](std::size_t, std::size_t) { return true; };
  h.check(h.plain(0.5, all), [&](const HeadGradients& g, const Executor& e) {
    standard_attention_backward(h.q, h.k, h.v, 0.5F, h.d_out, g, e);
  });
  h.check(h.plain(0.5, all), [&](const HeadGradients& g, const Executor& e) {
    flash_attention_backward(h.q, h.k, h.v, 0.5F, h.d_out, g, e);
  });
  h.check(h.plain(0.5, [&](std::size_t i, std::size_t j) { return mask.contains(i, j); }),
          [&](const HeadGradients& g, const Executor& e) {
            csr_attention_backward(h.q, h.k, h.v, mask, 0.5F, h.d_out, g, e);
          });
}

// Several row blocks of the dense form (its logits are cut at 1 MB) and several tiles of the flash
// one agree with each other.
TEST(HeadBackward, TheDenseAndTheTiledFormAgreeOnLongSequences) {
  const Head h(200, 300, 8, 8);
  const Executor executor(2);
  Matrix a[3] = {Matrix(200, 8), Matrix(300, 8), Matrix(300, 8)};
  Matrix b[3] = {Matrix(200, 8), Matrix(300, 8), Matrix(300, 8)};
  standard_attention_backward(h.q, h.k, h.v, 0.35F, h.d_out, {a[0], a[1], a[2]}, executor);
  flash_attention_backward(h.q, h.k, h.v, 0.35F, h.d_out, {b[0], b[1], b[2]}, executor);
  for (std::size_t g = 0; g < 3; ++g) test::expect_close(a[g], test::values_of(b[g]));
}

TEST(HeadBackward, LinearAttentionDifferentiatesItsEstimate) {
  const Head h(6, 6, 4, 4);
  const RandomFeatures features(10, 4, 3);
  const double root = std::sqrt(0.5);
  const Values omega = test::values_of(features.directions());
  test::Plain plain = h.plain(0.5, [](std::size_t, std::size_t) { return true; });
  // e^(w . x - |x|^2 / 2), without the epsilon of 1e-6.
  plain.forward = [=](const std::map<std::string, Values>& in) {
    const auto phi = [&](const Values& x) {
      Values out;
      for (std::size_t i = 0; i < x.size() / 4; ++i) {
        for (std::size_t r = 0; r < 10; ++r) {
          double exponent = 0.0;
          for (std::size_t c = 0; c < 4; ++c) {
            const double value = root * x[i * 4 + c];
            exponent += omega[r * 4 + c] * value - value * value / 2;
          }
          out.push_back(std::exp(exponent));
        }
      }
      return out;
    };
    const Values q = phi(in.at("q")), k = phi(in.at("k")), &v = in.at("v");
    Values out(24, 0.0);
    for (std::size_t i = 0; i < 6; ++i) {
      double sum = 0.0;
      for (std::size_t j = 0; j < 6; ++j) {
        double weight = 0.0;
        for (std::size_t r = 0; r < 10; ++r) weight += q[i * 10 + r] * k[j * 10 + r];
        sum += weight;
        for (std::size_t c = 0; c < 4; ++c) out[i * 4 + c] += weight * v[j * 4 + c];
      }
      for (std::size_t c = 0; c < 4; ++c) out[i * 4 + c] /= sum;
    }
    return out;
  };
  h.check(
      plain,
      [&](const HeadGradients& g, const Executor& e) {
        linear_attention_backward(h.q, h.k, h.v, features, 0.5F, h.d_out, g, e);
      },
      1e-4);
}

}  // namespace
}  // namespace halo::attention
