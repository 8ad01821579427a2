#include "halo/integration/io/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "halo/integration/io/elements.h"

namespace halo::io {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint64_t kMaxHeader = 1 << 16;  // NumPy itself writes less than 1,000 bytes

struct NpyHeader {
  ElementType type = ElementType::kF4;
  std::vector<std::uint64_t> shape;
  std::uint64_t data_offset = 0;
};

/// The header's dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class DictionaryParser {
 public:
  DictionaryParser(const fs::path& path, std::string_view text) : path_(path), rest_(text) {}

  void parse() {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && descr.empty()) {
        // A structured type is a list here.
        if (peek() != '\'' && peek() != '"') {
          fail(ErrorCode::kUnsupportedFormat, path_, "elements are not plain numbers");
        }
        descr = quoted();
      } else if (key == "fortran_order" && !order_seen) {
        order_seen = true;
        fortran_order = word() == "True";
      } else if (key == "shape" && !shape_seen) {
        shape_seen = true;
        tuple();
      } else {
        garbled();
      }
      if (!accept(',') && peek() != '}') garbled();
    }
    peek();
    if (!rest_.empty() || descr.empty() || !order_seen || !shape_seen) garbled();
  }

  std::string_view descr;
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;
  bool order_seen = false;
  bool shape_seen = false;

 private:
  [[noreturn]] void garbled() const {
    fail(ErrorCode::kCorrupt, path_, "the .npy header is not the dictionary NumPy writes");
  }
  /// The next character that is not white space; NUL at the end.
  char peek() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) {
      rest_.remove_prefix(1);
    }
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool accept(char c) {
    if (peek() != c || rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) garbled();
  }
  std::string_view quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') garbled();
    rest_.remove_prefix(1);
    const std::size_t end = rest_.find(quote);
    if (end == std::string_view::npos) garbled();
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::string_view word() {
    peek();
    for (const std::string_view known : {"True", "False"}) {
      if (rest_.starts_with(known)) {
        rest_.remove_prefix(known.size());
        return known;
      }
    }
    garbled();
  }
  void tuple() {
    expect('(');
    while (!accept(')')) {
      peek();
      std::uint64_t value = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
      if (error != std::errc()) garbled();
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      shape.push_back(value);
      if (!accept(',') && peek() != ')') garbled();
    }
  }

  const fs::path& path_;
  std::string_view rest_;
};

ElementType type_of(const fs::path& path, std::string_view descr) {
  struct Name {
    std::string_view text;
    ElementType type;
  };
  constexpr Name kNames[] = {
      {"f2", ElementType::kF2}, {"f4", ElementType::kF4}, {"f8", ElementType::kF8},
      {"i1", ElementType::kI1}, {"i2", ElementType::kI2}, {"i4", ElementType::kI4},
      {"i8", ElementType::kI8}, {"u1", ElementType::kU1}, {"u2", ElementType::kU2},
      {"u4", ElementType::kU4}, {"u8", ElementType::kU8}};
  for (const Name& name : kNames) {
    if (!descr.ends_with(name.text) || descr.size() != 3) continue;
    const char order = descr.front();
    const bool one_byte = element_size(name.type) == 1;
    if (order == '<' || order == '=' || order == '|' || (one_byte && order == '>')) {
      return name.type;
    }
  }
  std::string text = "elements of type \"";
  text += descr;
  text += "\" are not read; convert them to little-endian numbers, such as \"<f4\" or \"<i8\"";
  fail(ErrorCode::kUnsupportedFormat, path, text);
}

NpyHeader read_header(const InputFile& file) {
  const fs::path& path = file.path();
  std::array<char, 12> start = {};
  const auto available = std::min<std::uint64_t>(start.size(), file.size());
  file.read(0, std::as_writable_bytes(std::span(start)).first(available));
  const std::string_view seen(start.data(), std::min<std::size_t>(available, kMagic.size()));
  if (!kMagic.starts_with(seen)) fail(ErrorCode::kUnsupportedFormat, path, "not a .npy file");
  if (available < 10) fail(ErrorCode::kCorrupt, path, "the .npy header is cut off");
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint64_t>(static_cast<unsigned char>(start[i]));
  };
  const std::uint64_t major = byte(6);
  if (major < 1 || major > 3 || byte(7) != 0) {
    fail(ErrorCode::kUnsupportedFormat, path,
         ".npy version " + std::to_string(major) + "." + std::to_string(byte(7)) +
             " is not read, only 1.0 to 3.0");
  }
  const std::uint64_t begin = major == 1 ? 10 : 12;
  if (available < begin) fail(ErrorCode::kCorrupt, path, "the .npy header is cut off");
  std::uint64_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > kMaxHeader || length > file.size() - begin) {
    fail(ErrorCode::kCorrupt, path,
         "a .npy header of " + std::to_string(length) + " bytes is cut off or too long");
  }
  std::string text(length, '\0');
  file.read(begin, std::as_writable_bytes(std::span(text)));
  DictionaryParser dictionary(path, text);
  dictionary.parse();
  if (dictionary.fortran_order && dictionary.shape.size() > 1) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "the array is in Fortran order; save it with numpy.ascontiguousarray");
  }
  return {type_of(path, dictionary.descr), std::move(dictionary.shape), begin + length};
}

ArrayLayout layout_of(const InputFile& file, const NpyHeader& header) {
  if (header.shape.empty() || header.shape.size() > 2) {
    fail(ErrorCode::kUnsupportedFormat, file.path(),
         "the array has " + std::to_string(header.shape.size()) + " dimensions");
  }
  ArrayLayout layout;
  layout.type = header.type;
  layout.rows = header.shape[0];
  layout.cols = header.shape.size() == 2 ? header.shape[1] : 1;
  layout.offset = header.data_offset;
  const std::uint64_t expected =
      checked_size(file.path(), layout.rows, layout.cols, element_size(layout.type));
  const std::uint64_t found = file.size() - header.data_offset;
  if (expected != found) {
    fail(ErrorCode::kCorrupt, file.path(),
         "the header promises " + std::to_string(expected) + " bytes of data, the file holds " +
             std::to_string(found));
  }
  return layout;
}

}  // namespace

Matrix read_npy_vectors(const FileSystem& file_system, const fs::path& path) {
  const InputFile file(file_system, path);
  const NpyHeader header = read_header(file);
  if (header.shape.size() != 2) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "vectors need an array of 2 dimensions, this one has " +
             std::to_string(header.shape.size()));
  }
  if (is_integer(header.type) && element_size(header.type) > 1) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "vectors are f2, f4, f8, u1 or i1, not wider integers");
  }
  return read_floats(file, layout_of(file, header));
}

IdMatrix read_npy_integers(const FileSystem& file_system, const fs::path& path) {
  const InputFile file(file_system, path);
  const NpyHeader header = read_header(file);
  if (!is_integer(header.type)) {
    fail(ErrorCode::kUnsupportedFormat, path, "holds floating-point numbers, not integers");
  }
  return read_integers(file, layout_of(file, header));
}

}  // namespace halo::io
