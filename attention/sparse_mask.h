// The seed notes' attention masks, as CSR: time and memory follow the stored entries, never n x n.
//
// Thread-safety: pure functions.
// Common to all: row i lists the positions that position i attends to. Sizes are refused with
// kInvalidArgument where a mask would store more than kMaxMaskEntries, and an index >= n is refused
// rather than ignored, because ignoring it hides a mask built for another sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "halo/attention/tensor.h"
#include "halo/core/csr_mask.h"
#include "halo/core/matrix_view.h"

namespace halo::attention {

/// The most entries a generated mask may store: 2^31, which is 8 GB of column numbers.
inline constexpr std::uint64_t kMaxMaskEntries = std::uint64_t{1} << 31;
/// The most positions (rows x columns) that to_attention_mask writes out: 2^26, a 256 MB matrix.
inline constexpr std::uint64_t kMaxDenseMaskPositions = std::uint64_t{1} << 26;

/// A grey picture, rows from top to bottom, one byte a pixel: ready for a PGM or PNG writer.
struct MaskPicture {
  std::size_t width = 0;
  std::size_t height = 0;
  std::vector<std::uint8_t> pixels;  ///< height x width; 0 is black
};

class SparseMask {
 public:
  SparseMask() = delete;

  /// Row i holds [i - window, i + window], cut to the sequence: 2 window + 1 columns away from the
  /// ends. O(entries).
  static CsrMask local_window(std::size_t n, std::size_t window);

  /// Every row holds `indices`, in any order, duplicates merged. Throws kInvalidArgument for an
  /// index >= n. O(n g).
  static CsrMask global_indices(std::size_t n, std::span<const std::uint32_t> indices);

  /// The union of local_window and global_indices. O(n (window + g)).
  static CsrMask local_global(std::size_t n, std::size_t window,
                              std::span<const std::uint32_t> indices);

  /// Consecutive blocks of `block_size` (the last may be shorter); a row holds its own block.
  /// Throws kInvalidArgument for block_size 0. O(n block_size).
  static CsrMask block_diagonal(std::size_t n, std::size_t block_size);

  /// local_window and, in every row, the columns 0, stride, 2 stride, ... (Child et al. 2019).
  /// Throws kInvalidArgument for stride 0. O(n (window + n / stride)).
  static CsrMask strided(std::size_t n, std::size_t window, std::size_t stride);

  /// Every row holds floor(sparsity n) distinct columns, drawn uniformly from (seed, row). The
  /// parameter is the share that is *kept*, as in the notes. Throws kInvalidArgument outside
  /// [0, 1]. O(entries log(row)), also where nearly everything is kept (Floyd's sampling).
  static CsrMask random(std::size_t n, double sparsity, std::uint64_t seed);

  /// The dense additive form, 0 where attended and -inf elsewhere. Throws kInvalidArgument above
  /// kMaxDenseMaskPositions: it is for small masks and other libraries; halo's kernels take CSR.
  static Matrix to_attention_mask(const CsrView& mask);

  /// scores [batch * heads, rows, columns] become -inf wherever `mask` has no entry; the rest is
  /// untouched. Throws kDimensionMismatch for other shapes. O(scores).
  static void apply_to_scores(const TensorSpan& scores, const CsrView& mask);
  /// scores += mask for a dense additive mask of to_attention_mask's form.
  static void apply_to_scores(const TensorSpan& scores, const MatrixView& mask);

  /// The share of positions that are attended to (CsrMask::density); 0 for an empty shape.
  static double sparsity(const CsrView& mask);
  /// The notes' name for sparsity().
  static double compute_sparsity(const CsrView& mask) { return sparsity(mask); }

  /// The upper left corner, at most 20 x 20, as text: U+2588 where attended, U+00B7 elsewhere.
  static std::string visualize(const CsrView& mask);

  /// The whole mask, scaled down so that no side exceeds `max_side`: pixel 0 where a cell stores
  /// nothing, else 55 + 200 x the share of the cell's positions that are stored, so that a lone
  /// entry of a large mask is still seen. Throws kInvalidArgument for max_side 0.
  /// O(entries + pixels).
  static MaskPicture visualize_picture(const CsrView& mask, std::size_t max_side = 512);

  /// visualize_picture as a binary PGM (P5). Throws kIo where the stream fails.
  static void visualize_pgm(const CsrView& mask, std::ostream& out, std::size_t max_side = 512);
};

/// `indices` ascending and without duplicates; throws kInvalidArgument for one >= n. `where` opens
/// the message.
std::vector<std::uint32_t> checked_indices(std::span<const std::uint32_t> indices, std::size_t n,
                                           const std::string& where);

}  // namespace halo::attention
