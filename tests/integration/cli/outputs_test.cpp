#include "halo/integration/cli/outputs.h"

#include <gtest/gtest.h>

#include "integration/cli/halo_process.h"
#include "support/test_support.h"

namespace halo::cli {
namespace {

using test::expect_error;

TEST(OutputsTest, RefusesInputsFoldersAndMissingFolders) {
  const test::TemporaryFolder folder;
  write_text(folder / "input", "x");
  std::filesystem::create_symlink(folder / "input", folder / "link");
  const auto check = [&](const std::string& output) {
    check_output(folder / output, {folder / "input", ""});
  };
  EXPECT_NO_THROW(check("new"));
  expect_error(ErrorCode::kInvalidArgument, "overwritten", [&] { check("input"); });
  expect_error(ErrorCode::kInvalidArgument, "overwritten", [&] { check("link"); });
  expect_error(ErrorCode::kIo, "is a folder", [&] { check(""); });
  expect_error(ErrorCode::kIo, "no folder", [&] { check("missing/new"); });
  EXPECT_NO_THROW(check_output("new-in-the-working-folder", {}));
}

}  // namespace
}  // namespace halo::cli
