// The README's C++ is a program of the tree, word for word, so that it compiles as written; and
// what a page links to is there.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace {

std::string read(const std::string& name) {
  std::ifstream file(std::string(HALO_SOURCE_DIR) + "/" + name);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Readme, ShowsTheExampleAsItIs) {
  const std::string example = read("examples/refined_search.cpp");
  ASSERT_FALSE(example.empty());
  EXPECT_NE(read("README.md").find("```cpp\n" + example + "```"), std::string::npos);
}

TEST(Docs, EveryLinkLeadsSomewhere) {
  namespace fs = std::filesystem;
  const fs::path root = HALO_SOURCE_DIR;
  std::size_t links = 0;
  for (const char* folder : {".", "docs", "docs/decisions"}) {
    for (const auto& entry : fs::directory_iterator(root / folder)) {
      if (entry.path().extension() != ".md") continue;
      const std::string text = read(fs::relative(entry.path(), root).string());
      for (std::size_t at = 0; (at = text.find("](", at)) != std::string::npos;) {
        at += 2;
        const std::string target = text.substr(at, text.find_first_of(")# \n", at) - at);
        if (target.empty() || target.rfind("http", 0) == 0) continue;
        EXPECT_TRUE(fs::exists(entry.path().parent_path() / target))
            << entry.path() << " links to " << target;
        ++links;
      }
    }
  }
  EXPECT_GT(links, 20U);
}

}  // namespace
