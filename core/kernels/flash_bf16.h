// Flash attention's forward pass in bfloat16 products, where bf16::in_hardware(): q, k, v and the
// probabilities are rounded, scores, softmax and sums are float32.
//
// Private to flash_attention.cpp. Nothing is checked. Thread-safety: pure functions.
#pragma once

#include <cstddef>

#include "halo/core/kernels/flash_shapes.h"

namespace halo::kernels::bf16 {

// Queries [begin, end), at most f.columns of them; workspace of flash_detail::forward_floats().
void flash_forward(const flash_detail::Forward<float>& f, std::size_t begin, std::size_t end,
                   float* workspace);
void flash_forward(const flash_detail::Forward<Bf16>& f, std::size_t begin, std::size_t end,
                   float* workspace);

}  // namespace halo::kernels::bf16
