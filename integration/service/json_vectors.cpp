#include "halo/integration/service/json_vectors.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "halo/core/error.h"

namespace halo::service {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Walks over the top level of an object. What it skips it does not judge: nlohmann does, in `rest`.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  bool ended() const { return at_ >= text_.size(); }
  char peek() const { return ended() ? '\0' : text_[at_]; }
  void space() {
    while (!ended() && is_space(text_[at_])) ++at_;
  }
  bool take(char c) {
    space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  // A string without its quotes, escapes as they are; nothing where none begins here.
  std::optional<std::string_view> string() {
    space();
    if (peek() != '"') return std::nullopt;
    const std::size_t begin = ++at_;
    while (!ended() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    if (ended()) return std::nullopt;
    return text_.substr(begin, at_++ - begin);
  }
  // Over any value, to the ',' or '}' after it.
  void skip_value() {
    int depth = 0;
    for (space(); !ended(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        if (!string()) return;
        --at_;
      } else if (c == '[' || c == '{') {
        ++depth;
      } else if (c == ']' || c == '}') {
        if (depth-- == 0) return;
      } else if (c == ',' && depth == 0) {
        return;
      }
    }
  }
  float number(std::string_view name) {
    space();
    const std::size_t digits = at_ + (peek() == '-' ? 1 : 0);
    float value = 0;
    if (short_number(digits, value)) return value;
    // What from_chars takes and JSON does not: "inf", "nan", ".5", "01", "5.".
    const auto digit_at = [&](std::size_t at) { return at < text_.size() && is_digit(text_[at]); };
    const std::size_t point = std::min(text_.find_first_not_of("0123456789", digits), text_.size());
    if (!digit_at(digits) || (text_[digits] == '0' && digit_at(digits + 1)) ||
        (point < text_.size() && text_[point] == '.' && !digit_at(point + 1))) {
      refuse("\"" + std::string(name) + "\": no number at byte " + std::to_string(at_));
    }
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) {
      // Too small is zero, too large is nothing a float can hold.
      double wide = 0;
      std::from_chars(text_.data() + at_, text_.data() + text_.size(), wide);
      if (wide > 1 || wide < -1 || wide == 0.0) {
        refuse("\"" + std::string(name) + "\": a number too large for a float at byte " +
               std::to_string(at_));
      }
      value = 0;
    }
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

 private:
  // What most numbers are: few digits, maybe a point, no exponent. Where the digits and the power
  // of ten are both whole numbers that a float holds, their quotient is the float that is nearest.
  bool short_number(std::size_t digits, float& value) {
    constexpr std::array<float, 11> kPowers = {1e0F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F,
                                               1e6F, 1e7F, 1e8F, 1e9F, 1e10F};
    constexpr std::uint32_t kMost = 1U << 24U;
    const char* const begin = text_.data() + digits;
    const char* const end = text_.data() + text_.size();
    const char* at = begin;
    std::uint32_t whole = 0;
    const auto take_digits = [&] {
      const char* const first = at;
      for (; at != end && is_digit(*at) && whole <= kMost; ++at) {
        whole = whole * 10 + static_cast<std::uint32_t>(*at - '0');
      }
      return static_cast<std::size_t>(at - first);
    };
    const std::size_t leading = take_digits();
    if (leading == 0 || (leading > 1 && *begin == '0')) return false;
    std::size_t decimals = 0;
    if (at != end && *at == '.') {
      ++at;
      decimals = take_digits();
      if (decimals == 0 || decimals >= kPowers.size()) return false;
    }
    if (whole > kMost || at == end || *at == 'e' || *at == 'E') return false;
    value = static_cast<float>(whole);
    if (decimals != 0) value /= kPowers[decimals];
    if (digits != at_) value = -value;
    at_ = static_cast<std::size_t>(at - text_.data());
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// Room for a row of most models at once; what is larger grows.
constexpr std::size_t kRowGuess = 1024;

// After the '['.
std::size_t read_row(Scanner& scanner, std::string_view name, std::vector<float>& values) {
  const std::size_t before = values.size();
  if (before == 0) values.reserve(kRowGuess);
  if (scanner.take(']')) return 0;
  do {
    values.push_back(scanner.number(name));
  } while (scanner.take(','));
  if (!scanner.take(']')) {
    refuse("\"" + std::string(name) + "\": neither , nor ] at byte " +
           std::to_string(scanner.at()));
  }
  return values.size() - before;
}

NumberRows read_rows(Scanner& scanner, std::string_view name) {
  NumberRows rows;
  rows.given = true;
  const auto shape = [&] {
    refuse("\"" + std::string(name) +
           "\" is no array of numbers, nor of equally long arrays of them");
  };
  if (!scanner.take('[')) shape();
  scanner.space();
  if (scanner.peek() != '[') {
    rows.rows = 1;
    rows.cols = read_row(scanner, name, rows.values);
    return rows;
  }
  rows.nested = true;
  do {
    if (!scanner.take('[')) shape();
    const std::size_t length = read_row(scanner, name, rows.values);
    if (rows.rows++ == 0) rows.cols = length;
    if (length != rows.cols) shape();
  } while (scanner.take(','));
  if (!scanner.take(']')) shape();
  return rows;
}

}  // namespace

BodyWithVectors parse_body(std::string_view text, const std::vector<std::string_view>& names) {
  // nlohmann takes a zero byte for the end of the text.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    refuse("the body is no JSON: a zero byte at " + std::to_string(zero));
  }
  BodyWithVectors body;
  body.vectors.resize(names.size());
  std::string rest;
  std::size_t copied = 0;
  Scanner scanner(text);
  if (scanner.take('{')) {
    while (true) {
      const auto key = scanner.string();
      if (!key || !scanner.take(':')) break;
      const auto name = std::find(names.begin(), names.end(), *key);
      if (name == names.end()) {
        scanner.skip_value();
      } else {
        const std::size_t begin = scanner.at();
        NumberRows& rows = body.vectors[static_cast<std::size_t>(name - names.begin())];
        if (rows.given) refuse("\"" + std::string(*name) + "\" is given twice");
        rows = read_rows(scanner, *name);
        rest.append(text.substr(copied, begin - copied)).append("null");
        copied = scanner.at();
      }
      if (!scanner.take(',')) break;
    }
  }
  rest.append(text.substr(copied));
  try {
    body.rest = Json::parse(rest);
  } catch (const Json::exception& error) {
    refuse(std::string("the body is no JSON: ") + error.what());
  }
  if (!body.rest.is_object()) refuse("the body is no JSON object");
  for (const std::string_view name : names) body.rest.erase(std::string(name));
  return body;
}

std::vector<float> numbers_of(const Json& json, const std::string& what) {
  if (!json.is_array()) refuse(what + " is no array of numbers");
  std::vector<float> values;
  values.reserve(json.size());
  for (const Json& number : json) {
    if (!number.is_number()) refuse(what + " is no array of numbers");
    values.push_back(number.get<float>());
  }
  return values;
}

std::vector<float> floats_of_base64(std::string_view text) {
  std::array<int, 256> values{};
  values.fill(-1);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int>(i);
  }
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const char c : text) {
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0) refuse("\"vector_base64\" is no base64");
    bits = bits << 6U | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<char>(bits >> held & 0xffU));
    }
  }
  if (bytes.size() % sizeof(float) != 0) {
    refuse("\"vector_base64\" holds " + std::to_string(bytes.size()) +
           " bytes: no whole number of float32");
  }
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return floats;
}

}  // namespace halo::service
