#include "halo/core/kernels/long_vectors.h"

#include <hwy/targets.h>

namespace halo::kernels {

bool long_vectors() { return (hwy::SupportedTargets() & HWY_AVX3) != 0; }

}  // namespace halo::kernels
