#include "halo/integration/io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/half_matrix.h"
#include "halo/integration/io/atomic_write.h"
#include "halo/integration/io/elements.h"

namespace halo::io {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::uint64_t kLargestHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kAlignment = 8;                  // of the data, as the format's writer does
constexpr int kDeepest = 3;                            // the file, a tensor, its shape
constexpr std::string_view kMetadata = "__metadata__";

struct Entry {
  std::string name, dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;
};

std::uint64_t element_bytes(const fs::path& path, const Entry& entry) {
  if (entry.dtype == "F32") return 4;
  if (entry.dtype == "F64") return 8;
  if (entry.dtype == "F16" || entry.dtype == "BF16") return 2;
  fail(ErrorCode::kUnsupportedFormat, path,
       "tensor " + entry.name + " holds " + entry.dtype + ", not F32, F16, BF16 or F64");
}

std::uint64_t count_of(const fs::path& path, const Json& json) {
  if (!json.is_number_unsigned()) fail(ErrorCode::kCorrupt, path, "not a count: " + json.dump());
  return json.get<std::uint64_t>();
}

Entry parse_entry(const fs::path& path, const std::string& name, const Json& json) {
  Entry entry;
  entry.name = name;
  entry.dtype = json.at("dtype").get<std::string>();
  for (const Json& extent : json.at("shape")) entry.shape.push_back(count_of(path, extent));
  const Json& offsets = json.at("data_offsets");
  if (offsets.size() != 2) fail(ErrorCode::kCorrupt, path, "tensor " + name + " needs two offsets");
  entry.begin = count_of(path, offsets.at(0));
  entry.end = count_of(path, offsets.at(1));
  return entry;
}

// Elements of a shape whose bytes are known to be `bytes`; kCorrupt where they are not.
std::uint64_t checked_elements(const fs::path& path, const Entry& entry) {
  const std::uint64_t each = element_bytes(path, entry), bytes = entry.end - entry.begin;
  std::uint64_t elements = 1;
  bool fits = bytes % each == 0;
  if (std::find(entry.shape.begin(), entry.shape.end(), 0U) != entry.shape.end()) {
    elements = 0;
  } else {
    for (const std::uint64_t extent : entry.shape) {
      fits = fits && extent <= bytes / each / elements;  // so the product stays within the bytes
      if (!fits) break;
      elements *= extent;
    }
  }
  if (!fits || elements * each != bytes) {
    fail(ErrorCode::kCorrupt, path,
         "tensor " + entry.name + " has " + std::to_string(bytes) +
             " bytes, not what its shape needs");
  }
  return elements;
}

template <class Stored, class Convert>
void convert(std::span<const std::byte> bytes, std::vector<float>& to, const Convert& from) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    to[i] = from(stored);
  }
}

NamedTensor read_tensor(const InputFile& file, const Entry& entry, std::uint64_t data) {
  NamedTensor tensor{entry.name, entry.shape, {}};
  tensor.values.resize(checked_elements(file.path(), entry));
  std::vector<std::byte> bytes(entry.end - entry.begin);
  file.read(data + entry.begin, bytes);
  if (entry.dtype == "F32") convert<float>(bytes, tensor.values, [](float x) { return x; });
  if (entry.dtype == "F64") convert<double>(bytes, tensor.values, double_to_float);
  if (entry.dtype == "F16") convert<std::uint16_t>(bytes, tensor.values, half_to_float);
  if (entry.dtype == "BF16") convert<Bf16>(bytes, tensor.values, bf16_to_float);
  return tensor;
}

// A repeated name would silently hide a tensor; deep nesting takes a hundred times its bytes.
Json parse_header(const fs::path& path, const std::string& text) {
  std::vector<std::set<std::string>> names;
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t event, Json& parsed) {
      if (depth > kDeepest) fail(ErrorCode::kCorrupt, path, "the header is nested too deeply");
      if (event == Json::parse_event_t::object_start) names.emplace_back();
      if (event == Json::parse_event_t::object_end) names.pop_back();
      if (event == Json::parse_event_t::key &&
          !names.back().insert(parsed.get<std::string>()).second) {
        fail(ErrorCode::kCorrupt, path, "the name " + parsed.dump() + " is given twice");
      }
      return true;
    });
  } catch (const Json::exception& error) {
    fail(ErrorCode::kCorrupt, path, std::string("header: ") + error.what());
  }
}

}  // namespace

const NamedTensor& TensorFile::at(std::string_view name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const NamedTensor& tensor) { return tensor.name == name; });
  if (found == tensors.end()) {
    throw Error(ErrorCode::kUnsupportedFormat, "no tensor is called " + std::string(name));
  }
  return *found;
}

void TensorFile::add(std::string name, const MatrixView& values) {
  NamedTensor tensor{std::move(name), {values.rows, values.cols}, {}};
  for (std::size_t i = 0; i < values.rows; ++i) {
    tensor.values.insert(tensor.values.end(), values.row(i), values.row(i) + values.cols);
  }
  tensors.push_back(std::move(tensor));
}

void TensorFile::add(std::string name, std::span<const float> values) {
  tensors.push_back({std::move(name), {values.size()}, {values.begin(), values.end()}});
}

namespace {

TensorFile read_tensors(const fs::path& path, const FileSystem& file_system) {
  const InputFile file(file_system, path);
  std::uint64_t length = 0;
  if (file.size() < sizeof length)
    fail(ErrorCode::kUnsupportedFormat, path, "not a safetensors file");
  file.read(0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > kLargestHeader || length > file.size() - sizeof length) {
    fail(ErrorCode::kCorrupt, path,
         "a header of " + std::to_string(length) +
             " bytes is cut off, or this is not a safetensors file");
  }
  std::string text(length, '\0');
  file.read(sizeof length, std::as_writable_bytes(std::span(text)));
  const Json header = parse_header(path, text);
  if (!header.is_object()) fail(ErrorCode::kCorrupt, path, "the header is not an object");
  const std::uint64_t data = sizeof length + length, data_bytes = file.size() - data;
  TensorFile result;
  std::vector<Entry> entries;
  try {
    for (const auto& [name, json] : header.items()) {
      if (name != kMetadata) {
        entries.push_back(parse_entry(path, name, json));
        continue;
      }
      for (const auto& [key, value] : json.items()) result.metadata[key] = value.get<std::string>();
    }
  } catch (const Json::exception& error) {
    fail(ErrorCode::kCorrupt, path, std::string("header: ") + error.what());
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t next = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != next || entry.end < entry.begin || entry.end > data_bytes) {
      fail(ErrorCode::kCorrupt, path,
           "tensor " + entry.name + " does not begin where the one before it ends, or is cut off");
    }
    next = entry.end;
    checked_elements(path, entry);
  }
  if (next != data_bytes) fail(ErrorCode::kCorrupt, path, "bytes are left over");
  for (const Entry& entry : entries) result.tensors.push_back(read_tensor(file, entry, data));
  return result;
}

}  // namespace

TensorFile read_safetensors(const fs::path& path, const FileSystem& file_system) {
  return reporting_memory(path, [&] { return read_tensors(path, file_system); });
}

void write_safetensors(const fs::path& path, const TensorFile& tensors,
                       const FileSystem& file_system) {
  Json header = Json::object();
  if (!tensors.metadata.empty()) header[std::string(kMetadata)] = tensors.metadata;
  std::uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors.tensors) {
    std::uint64_t elements = 1;
    for (const std::uint64_t extent : tensor.shape) elements *= extent;
    if (elements != tensor.values.size() || tensor.name == kMetadata ||
        header.contains(tensor.name)) {
      throw Error(ErrorCode::kInvalidArgument, "tensor " + tensor.name +
                                                   ": a name given twice, or another shape than "
                                                   "its values");
    }
    const std::uint64_t end = offset + elements * sizeof(float);
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const std::uint64_t length = text.size();
  atomic_write(file_system, path, [&](Output& output) {
    output.write(std::as_bytes(std::span(&length, 1)));
    output.write(std::as_bytes(std::span(text)));
    for (const NamedTensor& tensor : tensors.tensors) {
      output.write(std::as_bytes(std::span(tensor.values)));
    }
  });
}

}  // namespace halo::io
