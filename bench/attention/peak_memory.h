// The most memory that was allocated at one time: this program's malloc counts.
#pragma once

#include <cstddef>

namespace halo::bench {

/// Starts anew from what is allocated now.
void reset_peak_memory();
/// The most bytes above that which have been allocated at one time since. Buffers that a library
/// maps for itself are not seen.
std::size_t peak_memory();
/// Keeps freed memory, so that no mechanism pays for fresh pages in every pass.
void keep_freed_memory();

}  // namespace halo::bench
