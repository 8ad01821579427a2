// The tree's rules as code: who may include whom, where a third-party library may appear, and which
// sources have a mirrored test. They are written down in the architecture notes; see
// layering_test.cpp.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace halo::layering {

struct Include {
  std::size_t line = 0;
  std::string target;
  bool quoted = false;  ///< "target" rather than <target>
};

/// Every #include of a source text, also those with spaces around the '#'. Comments are not parsed:
/// an #include that starts its line counts.
std::vector<Include> parse_includes(std::string_view text);

/// What is wrong with the includes of `path` (relative to the tree, '/' between folders), one
/// sentence each. `tree` holds the path of every source file.
std::vector<std::string> include_violations(const std::string& path, std::string_view text,
                                            const std::set<std::string>& tree);

/// Sources of the rooms without tests/<room>/..._test.cpp. `covered_elsewhere` names the test of
/// those that share one; an entry whose source or test does not exist is itself a violation.
std::vector<std::string> test_violations(
    const std::set<std::string>& tree, const std::map<std::string, std::string>& covered_elsewhere);

}  // namespace halo::layering
