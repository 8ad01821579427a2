#include "halo/integration/io/fusion_io.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/integration/io/manifest_numbers.h"

namespace halo::io {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLargest = std::size_t{1} << 16;
constexpr std::uint64_t kForm = 1;

}  // namespace

void write_fusion(BundleWriter& writer, const gnn::Fusion& fusion) {
  const std::string text =
      Json{{"form", kForm}, {"heads", fusion.heads}, {"weights", fusion.weights}}.dump();
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  writer.add(SectionKind::kFusion, "trained.fusion", std::move(bytes));
}

std::shared_ptr<const gnn::Fusion> read_fusion(const BundleReader& reader) {
  const auto* section = reader.find(SectionKind::kFusion);
  if (section == nullptr) return nullptr;
  const auto corrupt = [&](const std::string& what) {
    fail(ErrorCode::kCorrupt, reader.path(), "fusion weights: " + what);
  };
  if (section->size > kLargest) corrupt("too many bytes");
  const auto bytes = reader.read(*section);
  auto fusion = std::make_shared<gnn::Fusion>();
  try {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const Json json = Json::parse(text, text + bytes.size());
    if (const std::uint64_t form = count_of(json.at("form")); form != kForm) {
      fail(ErrorCode::kUnsupportedFormat, reader.path(),
           "the fusion weights have form " + std::to_string(form) + ", this program reads form " +
               std::to_string(kForm) + ": train them again");
    }
    fusion->heads = json.at("heads").get<std::vector<std::string>>();
    for (const Json& weight : json.at("weights")) fusion->weights.push_back(real_of(weight));
    fusion->validate();
  } catch (const Json::exception& error) {
    corrupt(error.what());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupportedFormat) throw;
    corrupt(error.what());
  }
  return fusion;
}

}  // namespace halo::io
