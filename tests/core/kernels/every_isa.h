// Runs a check once for each instruction set that both this binary and this CPU have.
#pragma once

#include <hwy/targets.h>

#include <cstdint>

namespace halo::test {

template <class Check>
void on_every_isa(Check&& check) {
  for (std::int64_t isa : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(isa);
    hwy::GetChosenTarget().DeInit();
    check(hwy::TargetName(isa));
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

}  // namespace halo::test
