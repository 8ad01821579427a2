// A sparse boolean matrix in compressed-sparse-row form: which columns each row may attend to.
//
// Thread-safety: a CsrMask is read-only after construction; views are values.
// Invariants (checked by the constructor): row_offsets has rows + 1 ascending entries, starts at 0
// and ends at columns.size(); the columns of a row are ascending, unique and below num_columns. A
// row may be empty: attention over it yields zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace halo {

/// A borrowed mask: what kernels take, whoever owns the arrays.
struct CsrView {
  std::span<const std::uint64_t> row_offsets;  ///< rows + 1 entries
  std::span<const std::uint32_t> columns;
  std::size_t num_columns = 0;

  std::size_t rows() const { return row_offsets.empty() ? 0 : row_offsets.size() - 1; }
  std::size_t entries() const { return columns.size(); }
  std::span<const std::uint32_t> row(std::size_t i) const {
    return columns.subspan(row_offsets[i], row_offsets[i + 1] - row_offsets[i]);
  }
};

/// Throws kInvalidArgument, naming the row, where a view breaks one of the invariants above.
/// O(entries).
void validate(const CsrView& view);

class CsrMask {
 public:
  CsrMask() : row_offsets_{0} {}
  /// Takes the arrays over; throws kInvalidArgument where an invariant is broken. O(entries).
  CsrMask(std::vector<std::uint64_t> row_offsets, std::vector<std::uint32_t> columns,
          std::size_t num_columns);

  /// From one list of columns a row, in any order, duplicates merged. O(entries log(longest row)).
  static CsrMask from_rows(std::vector<std::vector<std::uint32_t>> rows, std::size_t num_columns);
  /// From (row, column) pairs in any order, duplicates merged. O(pairs log(longest row)).
  static CsrMask from_pairs(std::size_t rows, std::size_t num_columns,
                            std::span<const std::pair<std::uint32_t, std::uint32_t>> pairs);

  std::size_t rows() const { return row_offsets_.size() - 1; }
  std::size_t num_columns() const { return num_columns_; }
  std::size_t entries() const { return columns_.size(); }
  std::span<const std::uint64_t> row_offsets() const { return row_offsets_; }
  std::span<const std::uint32_t> columns() const { return columns_; }
  std::span<const std::uint32_t> row(std::size_t i) const { return view().row(i); }
  bool contains(std::size_t row, std::size_t column) const;
  /// Share of the rows x num_columns positions that are stored; 0 for an empty shape.
  double density() const;

  CsrMask transposed() const;                                   ///< O(entries + columns)
  static CsrMask union_of(const CsrView& a, const CsrView& b);  ///< same shape; O(entries)

  CsrView view() const { return {row_offsets_, columns_, num_columns_}; }
  operator CsrView() const { return view(); }  // NOLINT(google-explicit-constructor)
  bool operator==(const CsrMask&) const = default;

 private:
  std::vector<std::uint64_t> row_offsets_;
  std::vector<std::uint32_t> columns_;
  std::size_t num_columns_ = 0;
};

}  // namespace halo
