#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "halo/integration/io/bundle.h"
#include "halo/integration/io/snapshot_io.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class VerifyCommandTest : public CliTest {};

TEST_F(VerifyCommandTest, CountsWhatItChecked) {
  const Outcome plain = halo({"verify", "--index", build_index()});
  EXPECT_EQ(plain.code, 0) << plain.err;
  for (const char* fact : {"valid", "sections", "300", "links", "not prepared"}) {
    EXPECT_THAT(plain.out, HasSubstr(fact));
  }
  const Outcome refined = halo({"verify", "--index", refined_index(), "--json"});
  ASSERT_EQ(refined.code, 0) << refined.err;
  EXPECT_EQ(refined.json()["valid"], true);
  EXPECT_EQ(refined.json()["vectors"], kRows);
  EXPECT_EQ(refined.json()["unreachable"], 0);
  EXPECT_EQ(refined.json()["refinement_model"], true);
}

TEST_F(VerifyCommandTest, FindsADamagedByteAnywhere) {
  const std::string index = refined_index();
  const std::string whole = read_text(index);
  for (std::size_t i = 0; i < 24; ++i) {
    const std::size_t at = i * (whole.size() - 1) / 23;
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << i % 8));
    write_text(index, damaged);
    const Outcome outcome = halo({"verify", "--index", index});
    EXPECT_EQ(outcome.code, 1) << "byte " << at;
    EXPECT_THAT(outcome.err, testing::StartsWith("halo: "));
    EXPECT_TRUE(damaged == read_text(index));
  }
}

TEST_F(VerifyCommandTest, FindsABrokenInvariantUnderValidChecksums) {
  const std::string index = build_index();
  SnapshotParts parts = io::read_snapshot_parts(io::BundleReader(index));
  parts.ids[1] = parts.ids[0];
  io::BundleWriter bundle;
  io::write_snapshot_parts(bundle, parts);
  bundle.write(index);
  expect_refused(halo({"verify", "--index", index}), "corrupt", "");
}

}  // namespace
}  // namespace halo::cli
