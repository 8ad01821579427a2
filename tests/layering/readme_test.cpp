// The README's C++ is a program of the tree, word for word, so that it compiles as written.
#include <gtest/gtest.h>

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

}  // namespace
