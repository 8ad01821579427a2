#include "halo/attention/detail/row_blocks.h"

#include <algorithm>

namespace halo::attention::detail {

std::size_t dense_block(std::size_t keys) {
  constexpr std::size_t kLogits = (std::size_t{1} << 20) / sizeof(float);
  return std::clamp<std::size_t>(kLogits / std::max<std::size_t>(keys, 1), 4, 64);
}

void for_each_block(
    const Executor& executor, std::size_t items, std::size_t n, std::size_t block,
    const std::function<void(std::size_t, std::size_t, std::size_t, std::size_t)>& body) {
  const std::size_t blocks = (n + block - 1) / block;
  executor.parallel_for_workers(items * blocks, 1,
                                [&](std::size_t worker, std::size_t first, std::size_t last) {
                                  for (std::size_t c = first; c < last; ++c) {
                                    const std::size_t begin = c % blocks * block;
                                    body(worker, c / blocks, begin, std::min(n, begin + block));
                                  }
                                });
}

const Executor& calling_thread() {
  static const Executor executor(1);
  return executor;
}

}  // namespace halo::attention::detail
