#include "halo/gnn/projection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "halo/core/kernels/distance_reference.h"
#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

double norm(const float* x, std::size_t d) { return std::sqrt(kernels::reference::dot(x, x, d)); }

// Independent normal columns of the given standard deviations, shifted by 3.
Matrix with_deviations(std::size_t rows, const std::vector<double>& deviations) {
  Matrix x = test::random_matrix(rows, deviations.size(), 5);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t d = 0; d < deviations.size(); ++d) {
      x.row(i)[d] = 3.0F + static_cast<float>(deviations[d]) * x.row(i)[d];
    }
  }
  return x;
}

TEST(Spectrum, FindsMeanVariancesAndDirections) {
  const Matrix x = with_deviations(4000, {1.0, 4.0, 2.0});
  const Spectrum spectrum = covariance_spectrum(x, 4000, Executor(1));
  for (const float mean : spectrum.mean) EXPECT_NEAR(mean, 3.0F, 0.25F);
  ASSERT_EQ(spectrum.eigenvalues.size(), 3U);
  EXPECT_NEAR(spectrum.eigenvalues[0], 16.0, 1.5);
  EXPECT_NEAR(spectrum.eigenvalues[1], 4.0, 0.4);
  EXPECT_NEAR(spectrum.eigenvalues[2], 1.0, 0.1);
  EXPECT_NEAR(spectrum.eigenvectors.row(0)[1], 1.0, 0.02);  // sign fixed: positive
  EXPECT_NEAR(spectrum.eigenvectors.row(1)[2], 1.0, 0.02);
  EXPECT_NEAR(spectrum.participation_ratio, 21.0 * 21.0 / (256.0 + 16.0 + 1.0), 0.15);
}

TEST(Spectrum, SamplesEvenlyAndGivesTheSameBytesAtAnyThreadCount) {
  const Matrix x = test::random_matrix(1000, 20, 3);
  const Spectrum one = covariance_spectrum(x, 300, Executor(1));
  const Spectrum four = covariance_spectrum(x, 300, Executor(4));
  EXPECT_EQ(one.eigenvalues, four.eigenvalues);
  EXPECT_NEAR(one.participation_ratio,
              covariance_spectrum(x, 1000, Executor(1)).participation_ratio, 1.5);
}

TEST(Spectrum, OfFewDirectionsAgreesWithThatOfAll) {
  std::vector<double> deviations(400, 0.01);
  for (std::size_t d = 0; d < 60; ++d) deviations[d] = 3.0 / static_cast<double>(d + 1);
  for (std::size_t d = 390; d < 400; ++d) deviations[d] = 0.0;
  const Matrix x = with_deviations(2000, deviations);
  const Spectrum all = covariance_spectrum(x, 2000, Executor(1));
  const Spectrum few = covariance_spectrum(x, 2000, Executor(2), 20);
  ASSERT_EQ(all.eigenvalues.size(), 400U);
  ASSERT_EQ(few.eigenvalues.size(), 20U);
  ASSERT_EQ(few.eigenvectors.rows(), 20U);
  EXPECT_NEAR(few.participation_ratio, all.participation_ratio, 1e-6);
  EXPECT_EQ(few.varying, all.varying);
  EXPECT_EQ(few.varying, 390U);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(few.eigenvalues[i], all.eigenvalues[i], 1e-3 * all.eigenvalues[i]);
    const double cosine =
        kernels::reference::dot(few.eigenvectors.row(i), all.eigenvectors.row(i), 400);
    EXPECT_GT(std::fabs(cosine), 0.99) << i;
  }
}

TEST(Spectrum, HandlesConstantDataAndRefusesNone) {
  Matrix constant(5, 4);
  for (std::size_t i = 0; i < 5; ++i) constant.row(i)[2] = 1.0F;
  const Spectrum spectrum = covariance_spectrum(constant, 5, Executor(1));
  EXPECT_EQ(spectrum.participation_ratio, 0.0);
  EXPECT_EQ(spectral_projection(spectrum, 2).out_dim(), 4U);  // falls back to centring
  test::expect_error(ErrorCode::kEmpty, "no vectors",
                     [] { covariance_spectrum(Matrix(0, 3), 5, Executor(1)); });
}

TEST(Projection, CentredRowsHaveUnitLengthAndMatchTheFormula) {
  const Matrix x = with_deviations(300, {1.0, 2.0, 0.5, 1.0, 3.0});
  const Spectrum spectrum = covariance_spectrum(x, 300, Executor(1));
  const Projection projection = centred_projection(spectrum);
  Matrix out(300, 5);
  projection.apply(x, out, Executor(2));
  for (std::size_t i = 0; i < 300; ++i) {
    std::vector<float> expected(5);
    for (std::size_t d = 0; d < 5; ++d) expected[d] = x.row(i)[d] - spectrum.mean[d];
    const double length = norm(expected.data(), 5);
    for (std::size_t d = 0; d < 5; ++d) EXPECT_NEAR(out.row(i)[d], expected[d] / length, 1e-5);
  }
}

TEST(Projection, SpectralViewDampsTheLeadingDirections) {
  const Matrix x = with_deviations(5000, {4.0, 1.0, 1.0, 0.0001});
  const Spectrum spectrum = covariance_spectrum(x, 5000, Executor(1));
  const Projection projection = spectral_projection(spectrum, 4);
  EXPECT_EQ(projection.out_dim(), 3U);  // the last direction has no variance to speak of
  // Before normalisation, direction r has variance eigenvalue^(1/2): check the basis itself.
  for (std::size_t r = 0; r < 3; ++r) {
    EXPECT_NEAR(norm(projection.basis().row(r), 4), std::pow(spectrum.eigenvalues[r], -0.25), 1e-5);
  }
  EXPECT_EQ(spectral_projection(spectrum, 2).out_dim(), 2U);
}

TEST(Projection, OneVectorEqualsTheBatch) {
  const Matrix x = test::random_matrix(40, 33, 9);
  const Spectrum spectrum = covariance_spectrum(x, 40, Executor(1));
  for (const Projection& projection :
       {centred_projection(spectrum), spectral_projection(spectrum, 10)}) {
    Matrix batch(40, projection.out_dim());
    projection.apply(x, batch, Executor(1));
    std::vector<float> out(projection.out_dim()), scratch(33);
    for (std::size_t i = 0; i < 40; ++i) {
      projection.apply(x.row(i), out.data(), scratch.data());
      for (std::size_t d = 0; d < out.size(); ++d) EXPECT_NEAR(out[d], batch.row(i)[d], 1e-5);
    }
  }
}

TEST(Projection, AVectorAtTheMeanGivesZerosNotNan) {
  Matrix x(2, 3);
  x.row(0)[0] = 2.0F;  // mean (1, 0, 0)
  Matrix mean(1, 3), out(1, 3);
  mean.row(0)[0] = 1.0F;
  centred_projection(covariance_spectrum(x, 2, Executor(1))).apply(mean, out, Executor(1));
  for (std::size_t d = 0; d < 3; ++d) EXPECT_EQ(out.row(0)[d], 0.0F);
}

TEST(Projection, RefusesOtherShapes) {
  test::expect_error(ErrorCode::kDimensionMismatch, "basis",
                     [] { Projection(std::vector<float>(3), Matrix(2, 4)); });
  const Projection projection(std::vector<float>(3), Matrix());
  Matrix out(1, 3);
  test::expect_error(ErrorCode::kDimensionMismatch, "shape",
                     [&] { projection.apply(Matrix(1, 4), out, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
