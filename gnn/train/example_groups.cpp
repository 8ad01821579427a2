#include "halo/gnn/train/example_groups.h"

#include <algorithm>
#include <string>

#include "halo/core/error.h"

namespace halo::gnn {

ExampleGroups::ExampleGroups(std::span<const Example> examples, std::size_t rows) {
  for (const Example& example : examples) {
    if (example.row >= rows) {
      throw Error(ErrorCode::kInvalidArgument, "training: example of row " +
                                                   std::to_string(example.row) + " of " +
                                                   std::to_string(rows));
    }
    if (example.group >= members_.size()) members_.resize(example.group + 1);
    members_[example.group].push_back(example.row);
  }
  for (const Example& example : examples) {
    if (members_[example.group].size() > 1) anchors_.push_back(example);
  }
  if (anchors_.empty()) {
    throw Error(ErrorCode::kEmpty, "training: no label or query has two examples to learn from");
  }
}

std::vector<Example> ExampleGroups::draw(std::size_t batch, Random& random) const {
  std::vector<Example> drawn;
  for (std::size_t pair = 0; pair < batch / 2; ++pair) {
    const Example anchor = anchors_[random.below(anchors_.size())];
    const auto& members = members_[anchor.group];
    drawn.push_back(anchor);
    drawn.push_back({members[random.below(members.size())], anchor.group});
  }
  std::sort(drawn.begin(), drawn.end(), [](const Example& a, const Example& b) {
    return a.row != b.row ? a.row < b.row : a.group < b.group;
  });
  drawn.erase(std::unique(drawn.begin(), drawn.end(),
                          [](const Example& a, const Example& b) { return a.row == b.row; }),
              drawn.end());
  return drawn;
}

}  // namespace halo::gnn
