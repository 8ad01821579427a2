// Who attends to whom in FlashAttention: everyone, a mask, or blocks.
//
// Private to the room. Read-only.
#pragma once

#include <memory>

#include "halo/attention/block_mask.h"
#include "halo/attention/detail/local_pattern.h"

namespace halo::attention::detail {

class FlashPattern {
 public:
  FlashPattern() = default;
  explicit FlashPattern(std::shared_ptr<const CsrMask> mask)
      : entries_(std::make_unique<const LocalPattern>(std::move(mask))) {}
  explicit FlashPattern(std::shared_ptr<const BlockMask> blocks) : blocks_(std::move(blocks)) {}

  /// At most one of them is not null.
  const LocalPattern* entries() const { return entries_.get(); }
  const BlockMask* blocks() const { return blocks_.get(); }

 private:
  std::unique_ptr<const LocalPattern> entries_;
  std::shared_ptr<const BlockMask> blocks_;
};

}  // namespace halo::attention::detail
