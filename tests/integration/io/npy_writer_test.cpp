#include "halo/integration/io/npy_writer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "integration/io/faulty_file_system.h"
#include "integration/io/load.h"

namespace halo::io::test {
namespace {

TEST(NpyWriter, WritesWhatNumPyWrites) {
  MemoryFileSystem memory;
  const std::vector<std::int64_t> values = {5, -1, std::int64_t{1} << 40, 0};
  write_npy("ids.npy", 2, 2, values, memory);
  // NumPy 1.24's bytes for the same array.
  std::string text("\x93NUMPY\x01\x00v\x00", 10);
  text += "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 2), }";
  text += std::string(58, ' ') + "\n";
  text += std::string("\x05\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\x01\0\0", 24);
  text += std::string(8, '\0');
  EXPECT_EQ(memory.get("ids.npy"), bytes_of(text));
}

TEST(NpyWriter, RoundTrips) {
  MemoryFileSystem memory;
  for (const std::size_t cols : {1, 5, 16, 33}) {
    const Matrix matrix = halo::test::random_matrix(7, cols, cols);
    write_npy("a.npy", matrix, memory);
    const Matrix back = load_vectors("a.npy", VectorRole::kBase, memory);
    ASSERT_EQ(back.rows(), 7u);
    ASSERT_EQ(back.cols(), cols);
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_TRUE(std::ranges::equal(back.row_span(i), matrix.row_span(i))) << i;
    }
  }
  const std::vector<std::int64_t> ids = {3, 1, 2, -1, 0, 9};
  write_npy("ids.npy", 3, 2, ids, memory);
  const IdMatrix back = load_ground_truth("ids.npy", memory);
  EXPECT_EQ(back.cols, 2u);
  EXPECT_EQ(back.values, ids);
  write_npy("none.npy", 0, 10, {}, memory);
  EXPECT_TRUE(load_ids("none.npy", memory).empty());
}

TEST(NpyWriter, AHeaderBeyond128BytesStaysAligned) {
  MemoryFileSystem memory;
  write_npy("a.npy", 0, 1234567890123456789, {}, memory);
  EXPECT_EQ(memory.get("a.npy").size() % 64, 0u);
}

TEST(NpyWriter, RefusesAnotherSize) {
  MemoryFileSystem memory;
  const std::vector<std::int64_t> six(6);
  for (const auto& [rows, cols] : {std::pair(2, 2), std::pair(0, 0), std::pair(2, 4)}) {
    halo::test::expect_error(ErrorCode::kInvalidArgument, "6 values", [&, r = rows, c = cols] {
      write_npy("a.npy", static_cast<std::size_t>(r), static_cast<std::size_t>(c), six, memory);
    });
  }
  EXPECT_EQ(memory.count(), 0u);
}

TEST(NpyWriter, IsAtomic) {
  const std::vector<std::int64_t> six(6);
  for (int n = 0;; ++n) {
    const MemoryFileSystem memory("a.npy", bytes_of("old"));
    const FaultyFileSystem faulty(memory, n, FaultyFileSystem::Fault::kShortWrite);
    try {
      write_npy("a.npy", 2, 3, six, faulty);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNoSpace);
      EXPECT_EQ(memory.get("a.npy"), bytes_of("old"));
      continue;
    }
    if (!faulty.failed()) break;
  }
}

}  // namespace
}  // namespace halo::io::test
