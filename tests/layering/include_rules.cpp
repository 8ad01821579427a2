#include "layering/include_rules.h"

#include <algorithm>
#include <cctype>

namespace halo::layering {
namespace {

/// Which rooms a room may include, itself among them.
const std::map<std::string, std::set<std::string>, std::less<>>& allowed_rooms() {
  static const std::map<std::string, std::set<std::string>, std::less<>> kAllowed = {
      {"core", {"core"}},
      {"index", {"core", "index"}},
      {"attention", {"core", "attention"}},
      {"gnn", {"core", "attention", "gnn"}},
      {"integration", {"core", "index", "attention", "gnn", "integration"}},
  };
  return kAllowed;
}

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string first_folder(std::string_view path) {
  return std::string(path.substr(0, path.find('/')));
}

bool is_room(const std::string& folder) { return allowed_rooms().count(folder) != 0; }

/// The room a file of tests/ or bench/ mirrors, or the file's own room, or "".
std::string room_of(std::string_view path) {
  if (starts_with(path, "tests/")) path.remove_prefix(6);
  if (starts_with(path, "bench/")) path.remove_prefix(6);
  const std::string room = first_folder(path);
  return is_room(room) ? room : "";
}

/// Headers that cmake --install leaves out.
bool is_private(std::string_view path) {
  return holds(path, "/detail/") || holds(path, "/kernels/") ||
         starts_with(path, "integration/cli/") || starts_with(path, "integration/service/");
}

struct Library {
  std::string_view name;
  std::vector<std::string_view> starts;
};

bool of_library(const Include& include, const Library& library) {
  return std::any_of(library.starts.begin(), library.starts.end(),
                     [&](std::string_view start) { return starts_with(include.target, start); });
}

class Checker {
 public:
  Checker(const std::string& path, const std::set<std::string>& tree) : path_(path), tree_(tree) {}

  void check(const Include& include) {
    line_ = include.line;
    if (include.target == "halo/halo.h") {  // the umbrella, for users
      if (is_room(first_folder(path_)))
        say("the tree itself includes what it needs, not halo/halo.h");
      return;
    }
    check_spelling(include);
    if (starts_with(include.target, "halo/")) check_room(include.target.substr(5));
    check_library(include);
  }

  std::vector<std::string> take() { return std::move(violations_); }

 private:
  void say(const std::string& what) {
    violations_.push_back(path_ + ":" + std::to_string(line_) + ": " + what);
  }

  bool in(std::string_view folder) const { return starts_with(path_, folder); }

  void check_spelling(const Include& include) {
    const bool own = starts_with(include.target, "halo/");
    if (own && !include.quoted) say("<" + include.target + "> is halo's own: quote it");
    if (!own && include.quoted) {
      // Helpers of tests are reached from tests/ or lie beside them; a bench's likewise.
      const std::string root = first_folder(path_);
      const std::string beside = path_.substr(0, path_.rfind('/') + 1) + include.target;
      const bool helper =
          (root == "tests" || root == "bench") &&
          (tree_.count(root + "/" + include.target) != 0 || tree_.count(beside) != 0);
      if (!helper) say("\"" + include.target + "\" is not spelled \"halo/<room>/<file>\"");
    }
    if (own && tree_.count(include.target.substr(5)) == 0) {
      say("\"" + include.target + "\" names no file of the tree");
    }
  }

  void check_room(const std::string& target) {
    const std::string own_root = first_folder(path_);
    const std::string target_room = first_folder(target);
    if (!is_room(target_room)) {
      say("\"halo/" + target + "\" is in no room");
      return;
    }
    if (is_room(own_root) && allowed_rooms().at(own_root).count(target_room) == 0) {
      say(own_root + " may not include " + target_room + " (" + target + ")");
    }
    if (holds(target, "/detail/") && room_of(path_) != target_room) {
      say("\"" + target + "\" is private to " + target_room);
    }
    if (is_room(own_root) && ends_with(path_, ".h") && !is_private(path_) && is_private(target)) {
      say("an installed header includes \"" + target + "\", which is not installed");
    }
  }

  void check_library(const Include& include) {
    static const Library kHnswlib{"hnswlib", {"hnswlib/"}};
    static const Library kTbb{"TBB", {"tbb/", "oneapi/"}};
    static const Library kEigen{"Eigen", {"Eigen/", "eigen3/", "unsupported/Eigen/"}};
    static const Library kHighway{"Highway", {"hwy/"}};
    const bool source = ends_with(path_, ".cpp");
    const bool outside = in("tests/") || in("bench/");
    if (of_library(include, kHnswlib) && !in("index/detail/") && !outside) {
      say("hnswlib appears outside index/detail/");
    }
    if (of_library(include, kTbb) && !source) say("TBB appears in a header");
    for (const Library* library : {&kEigen, &kHighway}) {
      if (of_library(include, *library) && !source && !in("core/kernels/") && !outside) {
        say(std::string(library->name) + " appears in a header outside core/kernels/");
      }
    }
  }

  const std::string& path_;
  const std::set<std::string>& tree_;
  std::size_t line_ = 0;
  std::vector<std::string> violations_;
};

std::string_view without_leading_space(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  return text;
}

}  // namespace

std::vector<Include> parse_includes(std::string_view text) {
  std::vector<Include> includes;
  std::size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::size_t end = text.find('\n');
    std::string_view line = without_leading_space(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() != '#') continue;
    line = without_leading_space(line.substr(1));
    if (!starts_with(line, "include")) continue;
    line = without_leading_space(line.substr(7));
    if (line.empty() || (line.front() != '"' && line.front() != '<')) continue;
    const bool quoted = line.front() == '"';
    const std::size_t close = line.find(quoted ? '"' : '>', 1);
    if (close == std::string_view::npos) continue;
    includes.push_back({line_number, std::string(line.substr(1, close - 1)), quoted});
  }
  return includes;
}

std::vector<std::string> include_violations(const std::string& path, std::string_view text,
                                            const std::set<std::string>& tree) {
  Checker checker(path, tree);
  for (const Include& include : parse_includes(text)) checker.check(include);
  return checker.take();
}

std::vector<std::string> test_violations(
    const std::set<std::string>& tree,
    const std::map<std::string, std::string>& covered_elsewhere) {
  std::vector<std::string> violations;
  for (const std::string& path : tree) {
    if (!is_room(first_folder(path)) || !ends_with(path, ".cpp")) continue;
    const std::string test = "tests/" + path.substr(0, path.size() - 4) + "_test.cpp";
    if (tree.count(test) == 0 && covered_elsewhere.count(path) == 0) {
      violations.push_back(path + " has no " + test);
    }
  }
  for (const auto& [source, test] : covered_elsewhere) {
    if (tree.count(source) == 0)
      violations.push_back("listed source " + source + " does not exist");
    if (tree.count(test) == 0) {
      violations.push_back("the test listed for " + source + ", " + test + ", does not exist");
    }
  }
  return violations;
}

}  // namespace halo::layering
