#include "halo/core/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace halo {
namespace {

TEST(Error, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (int code = 1; code <= kErrorCodes; ++code) {
    const auto name = error_code_name(static_cast<ErrorCode>(code));
    EXPECT_NE(name, "unknown") << code;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(error_code_name(static_cast<ErrorCode>(kErrorCodes + 1)), "unknown");
  EXPECT_EQ(error_code_name(static_cast<ErrorCode>(9999)), "unknown");
}

TEST(Error, CarriesCodeAndText) {
  const Error error(ErrorCode::kNoSpace, "disk full");
  EXPECT_EQ(error.code(), ErrorCode::kNoSpace);
  EXPECT_STREQ(error.what(), "disk full");
}

}  // namespace
}  // namespace halo
