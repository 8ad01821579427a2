#include "halo/integration/cli/text.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdio>

namespace halo::cli {

std::string with_commas(std::uint64_t value) {
  std::string text = std::to_string(value);
  for (std::size_t i = text.size(); i > 3;) {
    i -= 3;
    text.insert(i, ",");
  }
  return text;
}

std::string fixed(double value, int decimals) {
  std::array<char, 400> buffer{};  // the longest double has 309 digits
  const int length = std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return {buffer.data(), static_cast<std::size_t>(std::max(length, 0))};
}

std::string percent(double share) { return fixed(100 * share, 2); }

std::string duration(double seconds) {
  if (seconds < 0.0995) return fixed(seconds * 1e3, seconds < 0.00995 ? 2 : 1) + " ms";
  if (seconds < 99.95) return fixed(seconds, seconds < 9.95 ? 2 : 1) + " s";
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 3600) {
    const std::string rest = std::to_string(whole % 60);
    return std::to_string(whole / 60) + " min " + (rest.size() == 1 ? "0" : "") + rest + " s";
  }
  const std::string rest = std::to_string(whole / 60 % 60);
  return with_commas(whole / 3600) + " h " + (rest.size() == 1 ? "0" : "") + rest + " min";
}

std::string bytes(std::uint64_t count) {
  if (count < 1000) return std::to_string(count) + " B";
  double value = static_cast<double>(count) / 1000;
  for (const char* unit : {"kB", "MB", "GB"}) {
    if (value < 999.95) return fixed(value, 1) + " " + unit;
    value /= 1000;
  }
  return fixed(value, 1) + " TB";
}

void Facts::add(std::string name, std::string value) {
  lines_.emplace_back(std::move(name), std::move(value));
}

void Facts::print(std::ostream& out) const {
  std::size_t width = 0;
  for (const auto& [name, value] : lines_) width = std::max(width, name.size());
  for (const auto& [name, value] : lines_) {
    out << name << std::string(width - name.size() + 2, ' ') << value << '\n';
  }
}

Table::Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void Table::add(std::vector<std::string> cells) {
  assert(cells.size() == rows_.front().size());
  rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      line += i == 0 ? row[i] + space : "  " + space + row[i];
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  }
}

}  // namespace halo::cli
