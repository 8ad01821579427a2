// Random directions as the linear attention kernels read them.
//
// Private to the room.
#pragma once

#include "halo/attention/random_features.h"
#include "halo/core/kernels/gemm.h"

namespace halo::attention {

struct RandomFeatures::Packed {
  kernels::PackedMatrix omega, omega_t;
  kernels::PackedHalfMatrix half_omega_t;  // where the CPU multiplies bfloat16 in hardware
};

}  // namespace halo::attention
