#include "halo/attention/attention_options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention_test_support.h"

namespace halo::attention {
namespace {

TEST(AttentionOptions, ScaleDefaultsToTheHeadDimension) {
  EXPECT_FLOAT_EQ(AttentionOptions{}.scale_for(64), 0.125F);
  EXPECT_FLOAT_EQ(AttentionOptions{.scale = 3.0F}.scale_for(64), 3.0F);
}

TEST(AttentionOptions, RefusesWhatIsOutsideItsRange) {
  EXPECT_NO_THROW(AttentionOptions{}.validate());
  for (const float scale : {-1.0F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    test::expect_error(ErrorCode::kInvalidArgument, "scale",
                       [&] { AttentionOptions{.scale = scale}.validate(); });
  }
  test::expect_error(ErrorCode::kInvalidArgument, "gate mode",
                     [] { AttentionOptions{.gate = static_cast<GateMode>(9)}.validate(); });
  test::expect_error(ErrorCode::kInvalidArgument, "gate limit",
                     [] { AttentionOptions{.gate_limit = static_cast<GateLimit>(0)}.validate(); });
  test::expect_error(ErrorCode::kInvalidArgument, "initialisation", [] {
    AttentionOptions{.initialisation = static_cast<Initialisation>(4)}.validate();
  });
}

}  // namespace
}  // namespace halo::attention
