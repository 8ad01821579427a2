// Examples of what belongs together, and batches of pairs drawn from them.
//
// Thread-safety: immutable after construction; draw() is const.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/random.h"

namespace halo::gnn {

/// Row `row` of the vectors belongs to `group`: a label, or a query together with the documents
/// judged relevant to it.
struct Example {
  std::uint32_t row = 0;
  std::uint32_t group = 0;
};

class ExampleGroups {
 public:
  /// Throws kInvalidArgument for a row that is not below `rows`, kEmpty where no group has two
  /// rows.
  ExampleGroups(std::span<const Example> examples, std::size_t rows);

  /// batch / 2 pairs of one group each, in the order of their rows, each row once: an example of a
  /// group with at least two, and any member of its group.
  std::vector<Example> draw(std::size_t batch, Random& random) const;

 private:
  std::vector<Example> anchors_;  // of groups with at least two rows
  std::vector<std::vector<std::uint32_t>> members_;
};

}  // namespace halo::gnn
