#include "halo/core/csr_mask.h"

#include <algorithm>
#include <limits>
#include <string>

#include "halo/core/error.h"

namespace halo {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, "mask: " + what);
}

}  // namespace

void validate(const CsrView& view) {
  if (view.num_columns > std::size_t{std::numeric_limits<std::uint32_t>::max()} + 1) {
    fail("more columns than 32-bit column numbers can name");
  }
  if (view.row_offsets.empty() || view.row_offsets.front() != 0 ||
      view.row_offsets.back() != view.columns.size()) {
    fail("row_offsets must start at 0 and end at the number of entries");
  }
  for (std::size_t i = 0; i < view.rows(); ++i) {
    const std::uint64_t begin = view.row_offsets[i], end = view.row_offsets[i + 1];
    if (begin > end || end > view.columns.size()) {
      fail("row_offsets descend at row " + std::to_string(i));
    }
    for (std::uint64_t e = begin; e < end; ++e) {
      if (view.columns[e] >= view.num_columns) {
        fail("row " + std::to_string(i) + " names column " + std::to_string(view.columns[e]) +
             " of " + std::to_string(view.num_columns));
      }
      if (e > begin && view.columns[e - 1] >= view.columns[e]) {
        fail("columns of row " + std::to_string(i) + " are not ascending and unique");
      }
    }
  }
}

CsrMask::CsrMask(std::vector<std::uint64_t> row_offsets, std::vector<std::uint32_t> columns,
                 std::size_t num_columns)
    : row_offsets_(std::move(row_offsets)),
      columns_(std::move(columns)),
      num_columns_(num_columns) {
  validate(view());
}

CsrMask CsrMask::from_rows(std::vector<std::vector<std::uint32_t>> rows, std::size_t num_columns) {
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(rows.size() + 1);
  std::vector<std::uint32_t> columns;
  for (auto& row : rows) {
    std::sort(row.begin(), row.end());
    row.erase(std::unique(row.begin(), row.end()), row.end());
    columns.insert(columns.end(), row.begin(), row.end());
    offsets.push_back(columns.size());
  }
  return {std::move(offsets), std::move(columns), num_columns};
}

CsrMask CsrMask::from_pairs(std::size_t rows, std::size_t num_columns,
                            std::span<const std::pair<std::uint32_t, std::uint32_t>> pairs) {
  std::vector<std::uint64_t> offsets(rows + 1, 0);
  for (const auto& [row, column] : pairs) {
    if (row >= rows) {
      fail("a pair names row " + std::to_string(row) + " of " + std::to_string(rows));
    }
    ++offsets[row + 1];
  }
  for (std::size_t i = 0; i < rows; ++i) offsets[i + 1] += offsets[i];
  std::vector<std::uint32_t> columns(pairs.size());
  std::vector<std::uint64_t> next(offsets.begin(), offsets.end() - 1);
  for (const auto& [row, column] : pairs) columns[next[row]++] = column;

  std::uint64_t kept = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    const auto begin = columns.begin() + static_cast<std::ptrdiff_t>(offsets[i]);
    const auto end = columns.begin() + static_cast<std::ptrdiff_t>(offsets[i + 1]);
    std::sort(begin, end);
    const auto unique_end = std::unique(begin, end);
    offsets[i] = kept;
    std::move(begin, unique_end, columns.begin() + static_cast<std::ptrdiff_t>(kept));
    kept += static_cast<std::uint64_t>(unique_end - begin);
  }
  offsets[rows] = kept;
  columns.resize(kept);
  return {std::move(offsets), std::move(columns), num_columns};
}

bool CsrMask::contains(std::size_t row_index, std::size_t column) const {
  const auto columns_of_row = row(row_index);
  return std::binary_search(columns_of_row.begin(), columns_of_row.end(), column);
}

double CsrMask::density() const {
  const double positions = static_cast<double>(rows()) * static_cast<double>(num_columns_);
  return positions == 0 ? 0.0 : static_cast<double>(entries()) / positions;
}

CsrMask CsrMask::transposed() const {
  std::vector<std::uint64_t> offsets(num_columns_ + 1, 0);
  for (const std::uint32_t column : columns_) ++offsets[column + 1];
  for (std::size_t i = 0; i < num_columns_; ++i) offsets[i + 1] += offsets[i];
  std::vector<std::uint32_t> transposed_columns(columns_.size());
  std::vector<std::uint64_t> next(offsets.begin(), offsets.end() - 1);
  for (std::size_t i = 0; i < rows(); ++i) {
    for (const std::uint32_t column : row(i)) {
      transposed_columns[next[column]++] = static_cast<std::uint32_t>(i);
    }
  }
  return {std::move(offsets), std::move(transposed_columns), rows()};
}

CsrMask CsrMask::union_of(const CsrView& a, const CsrView& b) {
  if (a.rows() != b.rows() || a.num_columns != b.num_columns) {
    fail("the union of two masks needs equal shapes");
  }
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(a.rows() + 1);
  std::vector<std::uint32_t> columns;
  columns.reserve(a.entries() + b.entries());
  for (std::size_t i = 0; i < a.rows(); ++i) {
    const auto x = a.row(i), y = b.row(i);
    std::set_union(x.begin(), x.end(), y.begin(), y.end(), std::back_inserter(columns));
    offsets.push_back(columns.size());
  }
  return {std::move(offsets), std::move(columns), a.num_columns};
}

}  // namespace halo
