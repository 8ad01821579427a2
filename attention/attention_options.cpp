#include "halo/attention/attention_options.h"

#include <cmath>
#include <string>

#include "halo/core/error.h"

namespace halo::attention {
namespace {

template <class Enum>
void check_known(Enum value, Enum last, const char* what) {
  const auto number = static_cast<std::uint32_t>(value);
  if (number < 1 || number > static_cast<std::uint32_t>(last)) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string("attention: ") + what + " " + std::to_string(number) + " is unknown");
  }
}

}  // namespace

void AttentionOptions::validate() const {
  check_known(initialisation, Initialisation::kGlorotZeroOutput, "initialisation");
  check_known(gate, GateMode::kSignedPerNode, "gate mode");
  check_known(gate_limit, GateLimit::kNone, "gate limit");
  check_known(storage, Storage::kBfloat16, "storage");
  if (!std::isfinite(scale) || scale < 0.0F) {
    throw Error(ErrorCode::kInvalidArgument,
                "attention: scale must be finite and not negative, got " + std::to_string(scale));
  }
}

float AttentionOptions::scale_for(std::size_t head_dim) const {
  return scale != 0.0F ? scale : 1.0F / std::sqrt(static_cast<float>(head_dim));
}

}  // namespace halo::attention
