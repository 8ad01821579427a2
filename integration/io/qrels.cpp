#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "halo/integration/io/vectors.h"

namespace halo::io {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kBlanks = " \t\r";

/// Takes the next field off the front of `line`; empty at its end.
std::string_view next_field(std::string_view& line) {
  const std::size_t begin = line.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return line = {};
  line.remove_prefix(begin);
  const std::size_t end = std::min(line.find_first_of(kBlanks), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(end);
  return field;
}

/// The whole field as a number.
template <class T>
bool parse(std::string_view field, T& value) {
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  return error == std::errc() && end == field.data() + field.size() && !field.empty();
}

std::vector<Judgement> read_qrels(const fs::path& path, std::optional<std::size_t> num_queries,
                                  const FileSystem& file_system) {
  const InputFile file(file_system, path);
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // UTF-8 byte order mark

  std::vector<Judgement> judgements;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t length = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, length);
    rest.remove_prefix(std::min(length + 1, rest.size()));
    const auto bad = [&](const std::string& what) {
      fail(ErrorCode::kCorrupt, path, "line " + std::to_string(number) + ": " + what);
    };
    const std::string_view query = next_field(line);
    if (query.empty()) continue;
    const std::string_view iteration = next_field(line);
    const std::string_view id = next_field(line);
    const std::string_view grade = next_field(line);
    Judgement judgement;
    if (iteration.empty() || !parse(query, judgement.query) || !parse(id, judgement.id) ||
        !parse(grade, judgement.grade) || judgement.id < 0 || !next_field(line).empty()) {
      bad("not of the form \"query row, 0, base id, grade\", as in \"3 0 17 1\"");
    }
    if (num_queries && judgement.query >= *num_queries) {
      bad("query row " + std::to_string(judgement.query) + ", but there are " +
          std::to_string(*num_queries) + " queries");
    }
    judgements.push_back(judgement);
  }
  if (judgements.empty()) fail(ErrorCode::kEmpty, path, "holds no judgements");
  return judgements;
}

}  // namespace

std::vector<Judgement> load_qrels(const fs::path& path, std::optional<std::size_t> num_queries,
                                  const FileSystem& file_system) {
  return reporting_memory(path, [&] { return read_qrels(path, num_queries, file_system); });
}

}  // namespace halo::io
