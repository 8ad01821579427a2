// libFuzzer's entry for the target that the build names: HALO_FUZZ_TARGET is "npy", "vecs", ...
#include <algorithm>
#include <iterator>

#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const halo::fuzz::Target* const kTarget =
      std::find_if(std::begin(halo::fuzz::kTargets), std::end(halo::fuzz::kTargets),
                   [](const auto& target) { return target.name == HALO_FUZZ_TARGET; });
  kTarget->run(std::as_bytes(std::span(data, size)));
  return 0;
}
