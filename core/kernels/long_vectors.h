// Whether the kernels' vectors are 512 bits long: for estimates of what they cost.
//
// Private to halo: not installed. Thread-safe.
#pragma once

namespace halo::kernels {

/// True where dispatch chose AVX-512.
bool long_vectors();

}  // namespace halo::kernels
