// Vectors without length in a file that is to be searched by cosine: empty documents, as a rule.
//
// They have no direction, so the library refuses them. A few among many should not stop a user from
// indexing the rest; many mean that something went wrong before.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/index/graph_snapshot.h"

namespace halo::cli {

/// "auto" leaves out up to one row in this many, and refuses the file above that.
inline constexpr std::size_t kZeroVectorShare = 200;

struct ZeroVectors {
  std::vector<std::size_t> rows;  ///< left out, ascending
};

/// Takes rows of length 0 out of `vectors` and `ids`; with row numbers as ids (`ids` empty), the
/// others keep theirs. `policy` is "refuse", "skip" or "auto"; throws kZeroVector naming the first
/// row where the policy refuses, and where no row is left. O(rows dim).
ZeroVectors leave_out_zero_vectors(Matrix& vectors, std::vector<Id>& ids,
                                   const std::string& policy);

}  // namespace halo::cli
