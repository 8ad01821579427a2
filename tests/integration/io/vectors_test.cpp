#include "halo/integration/io/vectors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "halo/integration/io/npy_writer.h"
#include "integration/io/faulty_file_system.h"
#include "integration/io/load.h"

namespace halo::io::test {
namespace {

namespace fs = std::filesystem;
using halo::test::expect_error;

const std::vector<std::string> kNames = {"a.npy",   "a.fvecs", "a.bvecs", "a.fbin",    "a.u8bin",
                                         "a.i8bin", "a.hdf5",  "a-ubyte", "a-ubyte.gz"};

TEST(Vectors, MissingFilesAndFolders) {
  const halo::test::TemporaryFolder folder;
  for (const std::string& name : kNames) {
    const fs::path path = folder / name;
    expect_error(ErrorCode::kNotFound, path.string(), [&] { load_vectors(path); });
    fs::create_directory(path);
    expect_error(ErrorCode::kIo, path.string() + ": Is a directory", [&] { load_vectors(path); });
  }
  expect_error(ErrorCode::kNotFound, "qrels", [&] { load_qrels(folder / "qrels"); });
  expect_error(ErrorCode::kIo, "Is a directory", [&] { load_qrels(folder.path()); });
}

TEST(Vectors, UnreadableFiles) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const halo::test::TemporaryFolder folder;
  write_npy(folder / "a.npy", halo::test::random_matrix(2, 2, 1));
  fs::permissions(folder / "a.npy", fs::perms::none);
  expect_error(ErrorCode::kIo, "Permission denied", [&] { load_vectors(folder / "a.npy"); });
}

TEST(Vectors, UnknownEndings) {
  for (const char* name : {"vectors", "a.csv", "a.npz", "a.npy.gz", "", "npy", "ubyte", "a.npy/"}) {
    expect_error(ErrorCode::kUnsupportedFormat, ".npy", [&] { load_vectors(name); });
    expect_error(ErrorCode::kUnsupportedFormat, ".ivecs", [&] { load_ids(name); });
    expect_error(ErrorCode::kUnsupportedFormat, "-ubyte", [&] { load_labels(name); });
    expect_error(ErrorCode::kUnsupportedFormat, ".hdf5", [&] { load_ground_truth(name); });
  }
  expect_error(ErrorCode::kUnsupportedFormat, "a.fbin", [] { load_ids("a.fbin"); });
  expect_error(ErrorCode::kUnsupportedFormat, "a-ubyte", [] { load_ids("a-ubyte"); });
}

TEST(Vectors, ReadsRealFiles) {
  const halo::test::TemporaryFolder folder;
  // More than one piece of 4 MB, and rows that do not divide it.
  const Matrix matrix = halo::test::random_matrix(3001, 401, 1);
  write_npy(folder / "a.npy", matrix);
  const Matrix back = load_vectors(folder / "a.npy");
  ASSERT_EQ(back.rows(), 3001u);
  for (std::size_t i = 0; i < back.rows(); ++i) {
    ASSERT_TRUE(std::ranges::equal(back.row_span(i), matrix.row_span(i))) << i;
  }
}

TEST(Vectors, FaultsWhileReadingAreReported) {
  const MemoryFileSystem memory("a.npy", npy("<f4", "(2, 1)", raw<float>({1, 2})));
  const auto read = [](const FileSystem& file_system) {
    expect_matrix(load_vectors("a.npy", VectorRole::kBase, file_system), 2, 1, {1, 2});
  };
  const FaultyFileSystem counting(memory);
  read(counting);
  ASSERT_GE(counting.calls(), 4);
  for (int n = 0; n < counting.calls(); ++n) {
    const FaultyFileSystem faulty(memory, n, FaultyFileSystem::Fault::kEio);
    expect_error(ErrorCode::kIo, "a.npy", [&] { read(faulty); });
    read(FaultyFileSystem(memory, n, FaultyFileSystem::Fault::kHarmlessShortWrite));
  }
}

TEST(Vectors, SharedDataSets) {
  const auto folder = halo::test::shared_data("cranfield");
  if (!folder) GTEST_SKIP() << "no shared data here";
  const Matrix queries = load_vectors(*folder / "queries.npy", VectorRole::kQuery);
  const Matrix base = load_vectors(*folder / "base.npy");
  EXPECT_EQ(queries.cols(), base.cols());
  const auto judgements = load_qrels(*folder / "qrels.txt", queries.rows());
  EXPECT_GT(judgements.size(), 1000u);
  for (const Judgement& judgement : judgements) {
    EXPECT_LT(static_cast<std::size_t>(judgement.id), base.rows());
  }
}

}  // namespace
}  // namespace halo::io::test
