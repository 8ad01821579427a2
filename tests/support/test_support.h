// What the test suites share: seeded data, expectations about halo::Error, temporary folders, the
// shared data sets.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "halo/core/error.h"
#include "halo/core/matrix_view.h"

namespace halo::test {

/// rows x cols standard normal values, padded rows.
Matrix random_matrix(std::size_t rows, std::size_t cols, std::uint64_t seed);
/// The same around `clusters` random centres, `spread` wide: data with neighbourhoods worth
/// finding.
Matrix clustered_matrix(std::size_t rows, std::size_t cols, std::size_t clusters, float spread,
                        std::uint64_t seed);

/// A fresh folder, removed with everything in it at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The folder of one shared labelled data set, where this machine has it: skip the test where it
/// has not.
std::optional<std::filesystem::path> shared_data(const std::string& name);

/// Expects that `statement` throws halo::Error with `code`, and that its message holds `text`.
template <class Statement>
void expect_error(ErrorCode code, const std::string& text, Statement&& statement) {
  try {
    statement();
    ADD_FAILURE() << "no error; expected " << error_code_name(code);
  } catch (const Error& error) {
    EXPECT_EQ(error_code_name(error.code()), error_code_name(code)) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos)
        << "\"" << error.what() << "\" does not say \"" << text << "\"";
  }
}

}  // namespace halo::test
