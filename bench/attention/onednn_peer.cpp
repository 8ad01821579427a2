#include "onednn_peer.h"

#include <omp.h>

#include <dnnl.hpp>
#include <memory>
#include <unordered_map>

namespace halo::bench {
namespace {

using dnnl::memory;

// What one product holds between calls.
struct Product {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  memory a, rounded_a, b, out;
  dnnl::reorder round_a;
  dnnl::matmul multiply;
};

}  // namespace

std::function<void()> onednn_product(const float* a, const float* b, std::size_t n, std::size_t k,
                                     std::size_t m, bool half, float* out) {
  omp_set_num_threads(1);
  using Type = memory::data_type;
  using Tag = memory::format_tag;
  const auto dim = [](std::size_t x) { return static_cast<memory::dim>(x); };
  const memory::dims a_dims{dim(n), dim(k)}, b_dims{dim(k), dim(m)}, out_dims{dim(n), dim(m)};
  const Type type = half ? Type::bf16 : Type::f32;
  try {
    auto product = std::make_shared<Product>();
    Product& p = *product;
    const memory::desc a_given(a_dims, Type::f32, Tag::ab), a_used(a_dims, type, Tag::ab);
    const memory::desc b_given(b_dims, Type::f32, Tag::ab), b_any(b_dims, type, Tag::any);
    const memory::desc out_given(out_dims, Type::f32, Tag::ab);
    const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(a_used, b_any, out_given), p.engine);
    p.multiply = dnnl::matmul(plan);
    // oneDNN takes inputs through pointers to what it could write to, and does not.
    p.a = memory(a_given, p.engine, const_cast<float*>(a));
    p.rounded_a = half ? memory(a_used, p.engine) : p.a;
    if (half) p.round_a = dnnl::reorder(p.a, p.rounded_a);
    p.b = memory(plan.weights_desc(), p.engine);
    memory from(b_given, p.engine, const_cast<float*>(b));
    dnnl::reorder(from, p.b).execute(p.stream, from, p.b);
    p.out = memory(out_given, p.engine, out);
    p.stream.wait();
    return [product, half] {
      Product& q = *product;
      if (half) q.round_a.execute(q.stream, q.a, q.rounded_a);
      q.multiply.execute(
          q.stream, {{DNNL_ARG_SRC, q.rounded_a}, {DNNL_ARG_WEIGHTS, q.b}, {DNNL_ARG_DST, q.out}});
      q.stream.wait();
    };
  } catch (const dnnl::error&) {
    return {};
  }
}

}  // namespace halo::bench
