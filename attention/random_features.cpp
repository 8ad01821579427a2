#include "halo/attention/random_features.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "halo/attention/detail/packed_features.h"
#include "halo/core/error.h"
#include "halo/core/kernels/bf16.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

using Row = std::vector<double>;

Row normal_row(std::size_t dim, Random& random) {
  Row row(dim);
  for (double& value : row) value = random.normal();
  return row;
}

double dot(const Row& a, const Row& b) {
  double sum = 0.0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += a[c] * b[c];
  return sum;
}

void scale_to(double length, Row& row) {
  const double by = length / std::sqrt(dot(row, row));
  for (double& value : row) value *= by;
}

void check(std::size_t count, std::size_t dim) {
  if (count == 0 || dim == 0) {
    throw Error(ErrorCode::kInvalidArgument, "attention: " + std::to_string(count) +
                                                 " random features of dimension " +
                                                 std::to_string(dim) + ": both must be at least 1");
  }
}

// At most dim rows of unit length, orthogonal (Gram-Schmidt, twice for the rounding), in a
// direction that is uniform on the sphere.
std::vector<Row> orthogonal_rows(std::size_t count, std::size_t dim, Random& random) {
  std::vector<Row> rows;
  while (rows.size() < count) {
    Row row = normal_row(dim, random);
    for (int round = 0; round < 2; ++round) {
      for (const Row& other : rows) {
        const double along = dot(row, other);
        for (std::size_t c = 0; c < dim; ++c) row[c] -= along * other[c];
      }
    }
    if (dot(row, row) < 1e-12) continue;  // all but impossible: draw again
    scale_to(1.0, row);
    rows.push_back(std::move(row));
  }
  return rows;
}

Matrix draw(std::size_t count, std::size_t dim, std::uint64_t seed, std::uint64_t stream) {
  check(count, dim);
  Random random(seed, stream);
  Matrix directions(count, dim);
  for (std::size_t first = 0; first < count; first += dim) {
    std::vector<Row> rows = orthogonal_rows(std::min(dim, count - first), dim, random);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      // Lengths as those of independent normal vectors.
      const Row lengths = normal_row(dim, random);
      scale_to(std::sqrt(dot(lengths, lengths)), rows[r]);
      for (std::size_t c = 0; c < dim; ++c) {
        directions.row(first + r)[c] = static_cast<float>(rows[r][c]);
      }
    }
  }
  return directions;
}

}  // namespace

RandomFeatures::RandomFeatures(std::size_t count, std::size_t dim, std::uint64_t seed,
                               std::uint64_t stream)
    : RandomFeatures(draw(count, dim, seed, stream)) {}

RandomFeatures RandomFeatures::from_directions(const MatrixView& directions) {
  check(directions.rows, directions.cols);
  return RandomFeatures(Matrix::copy_of(directions));
}

RandomFeatures::RandomFeatures(Matrix directions)
    : directions_(std::make_shared<const Matrix>(std::move(directions))) {
  Packed packed{kernels::pack(*directions_), kernels::pack_transposed(*directions_), {}};
  if (kernels::bf16::in_hardware()) {
    const MatrixView omega = *directions_;
    Matrix turned(omega.cols, omega.rows);
    for (std::size_t r = 0; r < omega.rows; ++r) {
      for (std::size_t c = 0; c < omega.cols; ++c) turned.row(c)[r] = omega.row(r)[c];
    }
    packed.half_omega_t = kernels::pack_half(turned);
  }
  packed_ = std::make_shared<const Packed>(std::move(packed));
}

}  // namespace halo::attention
