// hnswlib alone, compiled for this machine, as a program without halo would use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "halo/core/matrix_view.h"

namespace halo::bench {

class HnswlibPeer {
 public:
  /// Inserts all vectors with `threads` threads (squared L2).
  HnswlibPeer(const MatrixView& vectors, std::size_t M, std::size_t ef_construction,
              std::size_t threads);
  ~HnswlibPeer();
  /// Row numbers, queries x k, nearest first.
  std::vector<std::uint32_t> search(const MatrixView& queries, std::size_t k, std::size_t ef,
                                    std::size_t threads);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo::bench
