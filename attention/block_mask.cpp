#include "halo/attention/block_mask.h"

#include <algorithm>
#include <string>
#include <utility>

#include "halo/attention/sparse_mask.h"
#include "halo/core/error.h"

namespace halo::attention {
namespace {

std::size_t count_blocks(std::size_t n, std::size_t block_size) {
  if (block_size == 0) {
    throw Error(ErrorCode::kInvalidArgument, "block mask: block_size must be at least 1");
  }
  return n / block_size + (n % block_size != 0 ? 1 : 0);
}

}  // namespace

BlockMask::BlockMask(std::size_t n, std::size_t block_size, CsrMask blocks)
    : n_(n), block_size_(block_size), blocks_(std::move(blocks)) {
  const std::size_t wanted = count_blocks(n, block_size);
  if (blocks_.rows() != wanted || blocks_.num_columns() != wanted) {
    throw Error(ErrorCode::kDimensionMismatch,
                "block mask: " + std::to_string(blocks_.rows()) + " x " +
                    std::to_string(blocks_.num_columns()) + " blocks for a sequence of " +
                    std::to_string(n) + ", which has " + std::to_string(wanted));
  }
}

BlockMask BlockMask::covering(const CsrView& mask, std::size_t block_size) {
  if (mask.rows() != mask.num_columns) {
    throw Error(ErrorCode::kDimensionMismatch,
                "block mask: a mask of " + std::to_string(mask.rows()) + " x " +
                    std::to_string(mask.num_columns) + " is not square");
  }
  const std::size_t n = mask.rows(), count = count_blocks(n, block_size);
  std::vector<std::vector<std::uint32_t>> rows(count);
  std::vector<std::size_t> seen(count, 0);  // 1 + the last block row that named it
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t block = i / block_size;
    for (const std::uint32_t j : mask.row(i)) {
      if (seen[j / block_size] == block + 1) continue;
      seen[j / block_size] = block + 1;
      rows[block].push_back(static_cast<std::uint32_t>(j / block_size));
    }
  }
  return {n, block_size, CsrMask::from_rows(std::move(rows), count)};
}

BlockMask BlockMask::from_layers(std::size_t n, std::size_t block_size, std::size_t band,
                                 const std::vector<std::vector<std::uint32_t>>& layers) {
  const std::size_t count = count_blocks(n, block_size);
  std::vector<std::uint32_t> global;
  for (const std::vector<std::uint32_t>& layer : layers) {
    for (const std::uint32_t node : checked_indices(layer, n, "block mask: layer")) {
      global.push_back(static_cast<std::uint32_t>(node / block_size));
    }
  }
  return {n, block_size, SparseMask::local_global(count, band, global)};
}

std::size_t BlockMask::size_of(std::size_t block) const {
  return std::min(block_size_, n_ - block * block_size_);
}

std::uint64_t BlockMask::entries() const {
  std::uint64_t sum = 0;
  for (std::size_t b = 0; b < blocks_.rows(); ++b) {
    for (const std::uint32_t other : blocks_.row(b)) {
      sum += std::uint64_t{size_of(b)} * size_of(other);
    }
  }
  return sum;
}

double BlockMask::density() const {
  return n_ == 0
             ? 0.0
             : static_cast<double>(entries()) / static_cast<double>(n_) / static_cast<double>(n_);
}

CsrMask BlockMask::to_csr(std::uint64_t max_entries) const {
  if (entries() > max_entries) {
    throw Error(ErrorCode::kInvalidArgument, "block mask: " + std::to_string(entries()) +
                                                 " entries are more than the limit of " +
                                                 std::to_string(max_entries));
  }
  std::vector<std::uint64_t> offsets{0};
  std::vector<std::uint32_t> columns;
  columns.reserve(entries());
  for (std::size_t i = 0; i < n_; ++i) {
    for (const std::uint32_t block : blocks_.row(i / block_size_)) {
      const std::size_t first = block * block_size_;
      for (std::size_t j = first; j < first + size_of(block); ++j) {
        columns.push_back(static_cast<std::uint32_t>(j));
      }
    }
    offsets.push_back(columns.size());
  }
  return {std::move(offsets), std::move(columns), n_};
}

}  // namespace halo::attention
