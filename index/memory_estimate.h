// How much memory an index will take, before it is built.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>

#include "halo/index/vector_index.h"

namespace halo {

/// Bytes, by part. Upper bounds as long as one add() inserts everything and rows of links are full;
/// on real data links take 50% to 90% of what is said here.
struct MemoryEstimate {
  std::size_t vectors = 0, codes = 0, links = 0, ids = 0, other = 0;  ///< of a sealed snapshot
  /// While building: hnswlib's graph with its vectors, and while sealing the snapshot beside it.
  /// The caller's own copy of the vectors is not counted.
  std::size_t building = 0;
  std::size_t sealed() const { return vectors + codes + links + ids + other; }
  std::size_t peak() const { return sealed() + building; }
};

/// For `n` vectors of `dim` values. Codes that the options leave to the index are counted as int8
/// where it may choose them, as nothing below 10,000 vectors. Throws kInvalidArgument for options
/// or a dimension out of range, kOutOfMemory where the sum is no size.
MemoryEstimate estimate_memory(std::size_t n, std::size_t dim, const BuildOptions& options);

/// What an index of `size` vectors with room for `capacity` takes at most while `added` more come
/// in one add() and it is sealed: what BuildOptions::memory_limit is compared with. Counts what a
/// growing index copies, and the links that an insertion keeps for its undoing. Throws as
/// estimate_memory().
std::size_t estimate_growth(std::size_t size, std::size_t capacity, std::size_t added,
                            std::size_t dim, const BuildOptions& options);

/// Throws kMemoryLimit, saying what `doing` would take, where `bytes` are more than `limit`, which
/// is not 0.
void check_memory_limit(std::size_t bytes, std::size_t limit, const char* doing);

}  // namespace halo
