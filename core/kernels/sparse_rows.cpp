#include "halo/core/kernels/sparse_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/sparse_rows.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float SparseDot(const std::uint32_t* HWY_RESTRICT indices, const std::uint8_t* HWY_RESTRICT weights,
                std::size_t count, const float* HWY_RESTRICT dense) {
  const hn::CappedTag<float, 16> tag;
  const hn::RebindToSigned<decltype(tag)> index_tag;
  const hn::Rebind<std::uint8_t, decltype(tag)> byte_tag;
  const std::size_t lanes = hn::Lanes(tag);
  auto sum = hn::Zero(tag);
  for (std::size_t i = 0; i < count; i += lanes) {
    const auto at =
        hn::BitCast(index_tag, hn::LoadU(hn::RebindToUnsigned<decltype(tag)>(), indices + i));
    const auto weight =
        hn::ConvertTo(tag, hn::PromoteTo(index_tag, hn::LoadU(byte_tag, weights + i)));
    sum = hn::MulAdd(weight, hn::GatherIndex(tag, dense, at), sum);
  }
  return hn::GetLane(hn::SumOfLanes(tag, sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halo::kernels {

HWY_EXPORT(SparseDot);

float sparse_dot(const std::uint32_t* indices, const std::uint8_t* weights, std::size_t count,
                 const float* dense) {
  return HWY_DYNAMIC_DISPATCH(SparseDot)(indices, weights, count, dense);
}

float sparse_dot_reference(const std::uint32_t* indices, const std::uint8_t* weights,
                           std::size_t count, const float* dense) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += double{dense[indices[i]]} * weights[i];
  return static_cast<float>(sum);
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
