#include "halo/integration/io/fusion_io.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/test_support.h"

namespace halo::io {
namespace {

class FusionIo : public testing::Test {
 protected:
  /// What is read where the section holds this text.
  std::shared_ptr<const gnn::Fusion> read(const std::string& text) const {
    std::vector<std::byte> bytes;
    for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
    BundleWriter writer;
    writer.add(SectionKind::kFusion, "trained.fusion", std::move(bytes));
    writer.write(folder_ / "forged");
    return read_fusion(BundleReader(folder_ / "forged"));
  }
  test::TemporaryFolder folder_;
};

TEST_F(FusionIo, IsReadAsItWasWritten) {
  const gnn::Fusion fusion{{"c", "g"}, {0.1F, 0.0F, 2.0F, 1e-7F, 0.0F, 1000.0F, 0.3F, 1.5F}};
  BundleWriter writer;
  write_fusion(writer, fusion);
  writer.write(folder_ / "bundle");
  const auto again = read_fusion(BundleReader(folder_ / "bundle"));
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->heads, fusion.heads);
  EXPECT_EQ(again->weights, fusion.weights);
  BundleWriter none;
  none.add(SectionKind::kModelEdges, "other", std::vector<std::byte>(4));
  none.write(folder_ / "none");
  EXPECT_EQ(read_fusion(BundleReader(folder_ / "none")), nullptr);
}

TEST_F(FusionIo, RefusesForgedText) {
  EXPECT_NE(read(R"({"form":1,"heads":["c"],"weights":[1,1,1,1,1],"more":0})"), nullptr);
  for (const char* text : {
           "",
           "{",
           R"({"heads":["c"],"weights":[1,1,1,1,1]})",
           R"({"form":-1,"heads":["c"],"weights":[1,1,1,1,1]})",
           R"({"form":1,"heads":[],"weights":[]})",
           R"({"form":1,"heads":[7],"weights":[1,1,1,1,1]})",
           R"({"form":1,"heads":["c"],"weights":[1,1]})",
           R"({"form":1,"heads":["c"],"weights":["1",1,1,1,1]})",
           R"({"form":1,"heads":["c"],"weights":[1,1,1,-1,1]})",
           R"({"form":1,"heads":["c"],"weights":[1,1,1,1e9,1]})",
           R"({"form":1,"heads":["c"],"weights":[1,1,1,1e99,1]})",
       }) {
    halo::test::expect_error(ErrorCode::kCorrupt, "fusion", [&] { read(text); });
  }
  halo::test::expect_error(ErrorCode::kUnsupportedFormat, "form 2",
                           [&] { read(R"({"form":2,"heads":["c"],"weights":[]})"); });
  halo::test::expect_error(ErrorCode::kCorrupt, "too many bytes",
                           [&] { read(std::string(70000, ' ')); });
}

}  // namespace
}  // namespace halo::io
