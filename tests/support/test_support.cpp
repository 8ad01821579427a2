#include "support/test_support.h"

#include <cstdlib>

#include "halo/core/random.h"

namespace halo::test {

Matrix random_matrix(std::size_t rows, std::size_t cols, std::uint64_t seed) {
  Matrix matrix = Matrix::padded(rows, cols);
  Random random(seed);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < cols; ++j) matrix.row(i)[j] = static_cast<float>(random.normal());
  }
  return matrix;
}

Matrix clustered_matrix(std::size_t rows, std::size_t cols, std::size_t clusters, float spread,
                        std::uint64_t seed) {
  const Matrix centres = random_matrix(clusters, cols, seed + 1);
  Matrix matrix = random_matrix(rows, cols, seed);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < cols; ++j) {
      matrix.row(i)[j] = centres.row(i % clusters)[j] + spread * matrix.row(i)[j];
    }
  }
  return matrix;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "halo-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw Error(ErrorCode::kIo, "cannot make " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::optional<std::filesystem::path> shared_data(const std::string& name) {
  const auto folder =
      std::filesystem::path(HALO_SOURCE_DIR).parent_path() / "shared" / "data" / name;
  if (!std::filesystem::exists(folder)) return std::nullopt;
  return folder;
}

}  // namespace halo::test
