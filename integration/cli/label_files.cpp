#include "halo/integration/cli/label_files.h"

#include <string>

#include "halo/core/error.h"
#include "halo/integration/io/vectors.h"

namespace halo::cli {

std::vector<std::int64_t> labels_of_nodes(const std::filesystem::path& labels_file,
                                          const std::filesystem::path& label_ids,
                                          const GraphSnapshot& snapshot) {
  const std::vector<std::int64_t> labels = io::load_labels(labels_file);
  std::vector<Id> ids;
  if (label_ids.empty()) {
    for (std::size_t i = 0; i < labels.size(); ++i) ids.push_back(static_cast<Id>(i));
  } else {
    ids = io::load_ids(label_ids);
  }
  if (ids.size() != labels.size() || (label_ids.empty() && ids.size() != snapshot.size())) {
    const std::size_t expected = label_ids.empty() ? snapshot.size() : ids.size();
    throw Error(ErrorCode::kInvalidArgument, labels_file.string() + ": " +
                                                 std::to_string(labels.size()) + " labels for " +
                                                 std::to_string(expected) + " vectors");
  }
  std::vector<std::int64_t> of_nodes(snapshot.size(), -1);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto node = snapshot.find(ids[i]);
    if (!node) {
      throw Error(ErrorCode::kUnknownId, labels_file.string() + ": the index has no id " +
                                             std::to_string(ids[i]) +
                                             " (one built with --ids needs --label-ids)");
    }
    of_nodes[*node] = labels[i];
  }
  return of_nodes;
}

}  // namespace halo::cli
