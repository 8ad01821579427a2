#include "halo/integration/io/hdf5.h"

#include <gtest/gtest.h>

#include "integration/io/load.h"

#ifndef HALO_HAVE_HDF5

namespace halo::io::test {
namespace {

TEST(Hdf5, ABuildWithoutItSaysSo) {
  EXPECT_FALSE(hdf5_available());
  expect_refusal(ErrorCode::kUnsupportedFormat, "a.hdf5", "reads no HDF5",
                 [] { vectors_in("a.hdf5", {}); });
}

}  // namespace
}  // namespace halo::io::test

#else

#include <hdf5.h>

#include <fstream>
#include <iterator>
#include <thread>

namespace halo::io::test {
namespace {

namespace fs = std::filesystem;
using halo::test::expect_error;
using halo::test::TemporaryFolder;

/// Writes HDF5 files data set by data set.
class Writer {
 public:
  explicit Writer(const fs::path& path)
      : file_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {
    EXPECT_GE(file_, 0);
  }
  ~Writer() { H5Fclose(file_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  hid_t file() const { return file_; }

  template <class T>
  void add(const char* name, hid_t type, std::vector<hsize_t> shape, const std::vector<T>& values,
           hid_t plan = H5P_DEFAULT) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t set = H5Dcreate2(file_, name, type, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    ASSERT_GE(set, 0) << name;
    if (!values.empty()) {
      ASSERT_GE(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    }
    H5Dclose(set);
    H5Sclose(space);
  }

 private:
  hid_t file_;
};

hid_t chunked(hsize_t rows, hsize_t cols, bool deflate) {
  const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk[] = {rows, cols};
  H5Pset_chunk(plan, 2, chunk);
  if (deflate) H5Pset_deflate(plan, 6);
  return plan;
}

void write_benchmark(const fs::path& path) {
  Writer writer(path);
  writer.add<float>("train", H5T_NATIVE_FLOAT, {3, 2}, {1, 2, 3, 4, 5, -6.5f});
  writer.add<float>("test", H5T_NATIVE_FLOAT, {1, 2}, {7, 8});
  writer.add<int>("neighbors", H5T_NATIVE_INT, {1, 3}, {2, 0, 1});
  writer.add<float>("distances", H5T_NATIVE_FLOAT, {1, 3}, {0, 1, 2});
}

TEST(Hdf5, ReadsAnnBenchmarks) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.hdf5";
  write_benchmark(path);
  EXPECT_TRUE(hdf5_available());
  expect_matrix(load_vectors(path), 3, 2, {1, 2, 3, 4, 5, -6.5f});
  expect_matrix(load_vectors(path, VectorRole::kQuery), 1, 2, {7, 8});
  expect_matrix(load_vectors(path.string() + ":test"), 1, 2, {7, 8});
  expect_matrix(load_vectors(path.string() + ":distances", VectorRole::kQuery), 1, 3, {0, 1, 2});
  EXPECT_EQ(load_ground_truth(path).values, (std::vector<std::int64_t>{2, 0, 1}));
  EXPECT_EQ(load_ground_truth(path.string() + ":neighbors").cols, 3u);
}

TEST(Hdf5, ConvertsOtherTypesAndLayouts) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.h5";
  {
    Writer writer(path);
    const hid_t plain = chunked(2, 1, false);
    const hid_t packed = chunked(2, 2, true);
    writer.add<double>("double", H5T_NATIVE_DOUBLE, {1, 2}, {0.1, 1e10});
    writer.add<unsigned char>("bytes", H5T_NATIVE_UCHAR, {2, 2}, {0, 1, 254, 255}, packed);
    writer.add<signed char>("signed", H5T_NATIVE_SCHAR, {2, 2}, {-128, 1, 2, 127}, plain);
    writer.add<std::int64_t>("wide", H5T_NATIVE_INT64, {2, 2}, {-1, 1, 2, std::int64_t{1} << 40});
    writer.add<float>("empty", H5T_NATIVE_FLOAT, {0, 2}, {});
    H5Pclose(plain);
    H5Pclose(packed);
  }
  const auto set = [&](const char* name) { return path.string() + ":" + name; };
  expect_matrix(load_vectors(set("double")), 1, 2, {0.1f, 1e10f});
  expect_matrix(load_vectors(set("bytes")), 2, 2, {0, 1, 254, 255});
  expect_matrix(load_vectors(set("signed")), 2, 2, {-128, 1, 2, 127});
  EXPECT_EQ(load_ground_truth(set("wide")).values,
            (std::vector<std::int64_t>{-1, 1, 2, std::int64_t{1} << 40}));
  expect_error(ErrorCode::kUnsupportedFormat, "\"wide\"", [&] { load_vectors(set("wide")); });
  expect_error(ErrorCode::kUnsupportedFormat, "\"double\"",
               [&] { load_ground_truth(set("double")); });
}

TEST(Hdf5, RefusesOtherDataSets) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.hdf5";
  {
    Writer writer(path);
    writer.add<float>("row", H5T_NATIVE_FLOAT, {2}, {1, 2});
    writer.add<float>("cube", H5T_NATIVE_FLOAT, {1, 1, 2}, {1, 2});
    writer.add<std::uint64_t>("unsigned", H5T_NATIVE_UINT64, {1, 1}, {1});
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, 4);
    writer.add<char>("text", text, {1, 1}, {'a', 'b', 'c', 'd'});
    H5Tclose(text);
    // Contents of another file: read nothing a stranger's file points at.
    const hid_t external = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(external, "/etc/hostname", 0, 8);
    writer.add<float>("external", H5T_NATIVE_FLOAT, {1, 2}, {}, external);
    H5Pclose(external);
    H5Lcreate_external("other.hdf5", "/train", writer.file(), "link", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/row", writer.file(), "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(writer.file(), "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  }
  const auto refused = [&](const std::string& name, const std::string& text) {
    for (int i = 0; i < 2; ++i) {
      expect_error(ErrorCode::kUnsupportedFormat, text, [&] {
        const std::string set = path.string() + ":" + name;
        i == 0 ? static_cast<void>(load_vectors(set)) : static_cast<void>(load_ground_truth(set));
      });
    }
  };
  refused("train", "a.hdf5: data set \"train\" is not in the file");
  refused("row", "1 dimensions");
  refused("cube", "3 dimensions");
  refused("unsigned", "\"unsigned\" holds");
  refused("text", "\"text\" holds");
  refused("external", "lies in other files");
  refused("link", "is a link");
  refused("soft", "is a link");
  expect_error(ErrorCode::kCorrupt, "\"group\" cannot be opened",
               [&] { load_vectors(path.string() + ":group"); });
}

TEST(Hdf5, RefusesShapesThatTheFileCannotHold) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.hdf5";
  {
    Writer writer(path);
    // Never written: libhdf5 would make up a terabyte of zeros.
    const hid_t plan = chunked(1000, 1000, true);
    writer.add<float>("train", H5T_NATIVE_FLOAT, {1000000, 250000}, {}, plan);
    H5Pclose(plan);
    const hid_t late = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_alloc_time(late, H5D_ALLOC_TIME_LATE);
    writer.add<float>("test", H5T_NATIVE_FLOAT, {1000000, 250000}, {}, late);
    H5Pclose(late);
  }
  expect_error(ErrorCode::kCorrupt, "larger than this file can hold", [&] { load_vectors(path); });
  expect_error(ErrorCode::kCorrupt, "not stored completely",
               [&] { load_vectors(path, VectorRole::kQuery); });
}

Bytes contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return bytes_of(std::string(std::istreambuf_iterator<char>(file), {}));
}

void put(const fs::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

TEST(Hdf5, RefusesTruncatedAndForeignFiles) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.hdf5";
  write_benchmark(path);
  const Bytes good = contents(path);
  for (std::size_t length = 0; length < good.size(); length += length < 16 ? 1 : 61) {
    const auto end = good.begin() + static_cast<std::ptrdiff_t>(length);
    put(path, Bytes(good.begin(), end));
    expect_error(ErrorCode::kCorrupt, path.string(), [&] { load_vectors(path); });
  }
  put(path, bytes_of("not an HDF5 file"));
  expect_error(ErrorCode::kUnsupportedFormat, "not an HDF5 file", [&] { load_vectors(path); });
}

TEST(Hdf5, ThreadsMayReadAtOnce) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a.hdf5";
  write_benchmark(path);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) EXPECT_EQ(load_vectors(path).rows(), 3u);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace halo::io::test

#endif  // HALO_HAVE_HDF5
