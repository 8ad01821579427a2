#include "halo/integration/cli/outputs.h"

#include <system_error>

#include "halo/core/error.h"

namespace halo::cli {

namespace fs = std::filesystem;

void check_output(const fs::path& output, std::initializer_list<fs::path> inputs) {
  std::error_code ignored;
  for (const fs::path& input : inputs) {
    if (!input.empty() && fs::equivalent(output, input, ignored)) {
      throw Error(ErrorCode::kInvalidArgument,
                  output.string() + ": would be overwritten while it is read");
    }
  }
  if (fs::is_directory(output, ignored)) {
    throw Error(ErrorCode::kIo, output.string() + ": is a folder, not a file");
  }
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorCode::kIo, output.string() + ": there is no folder " + folder.string());
  }
}

}  // namespace halo::cli
