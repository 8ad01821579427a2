#include "halo/integration/io/hdf5.h"

#include "halo/integration/io/elements.h"

#ifndef HALO_HAVE_HDF5

namespace halo::io {

bool hdf5_available() { return false; }

Matrix read_hdf5_vectors(const FileSystem&, const std::filesystem::path& path, const std::string&) {
  fail(ErrorCode::kUnsupportedFormat, path, "this build of halo reads no HDF5 files");
}

IdMatrix read_hdf5_integers(const FileSystem&, const std::filesystem::path& path,
                            const std::string&) {
  fail(ErrorCode::kUnsupportedFormat, path, "this build of halo reads no HDF5 files");
}

}  // namespace halo::io

#else

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <string>

namespace halo::io {

namespace fs = std::filesystem;

namespace {

// libhdf5 keeps global state.
std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// libhdf5 prints its errors unless told otherwise; halo reports them itself.
class QuietErrors {
 public:
  QuietErrors() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~QuietErrors() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

/// An HDF5 identifier and the function that closes it.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor)

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

class DataSet {
 public:
  DataSet(const fs::path& path, std::uint64_t file_size, const std::string& name)
      : path_(path),
        name_(name),
        file_(open_file(path), H5Fclose),
        set_(open_set(), H5Dclose),
        type_(H5Dget_type(set_), H5Tclose) {
    if (type_ < 0) corrupt("has an unreadable type");
    read_shape();
    check_storage(file_size);
  }

  std::uint64_t rows() const { return shape_[0]; }
  std::uint64_t cols() const { return shape_[1]; }

  bool is_vector_type() const {
    const H5T_class_t kind = H5Tget_class(type_);
    return kind == H5T_FLOAT || (kind == H5T_INTEGER && H5Tget_size(type_) == 1);
  }
  bool is_integer_type() const { return H5Tget_class(type_) == H5T_INTEGER; }
  /// 64-bit unsigned values pass int64; libhdf5 would clip them.
  bool is_unsigned_64() const {
    return is_integer_type() && H5Tget_size(type_) == 8 && H5Tget_sign(type_) == H5T_SGN_NONE;
  }

  void read(hid_t memory_type, void* out) const {
    if (H5Dread(set_, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) {
      corrupt("cannot be read");
    }
  }

  [[noreturn]] void refuse(ErrorCode code, const std::string& what) const {
    fail(code, path_, "data set \"" + name_ + "\" " + what);
  }

 private:
  [[noreturn]] void corrupt(const std::string& what) const { refuse(ErrorCode::kCorrupt, what); }

  static hid_t open_file(const fs::path& path) {
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0) {
      fail(ErrorCode::kCorrupt, path, "libhdf5 cannot open the file: truncated or garbled");
    }
    return file;
  }

  hid_t open_set() const {
    // A hard link at the root: no soft or external link leads to another file.
    H5L_info_t link = {};
    if (name_.empty() || name_.find('/') != std::string::npos ||
        H5Lexists(file_, name_.c_str(), H5P_DEFAULT) <= 0 ||
        H5Lget_info(file_, name_.c_str(), &link, H5P_DEFAULT) < 0) {
      refuse(ErrorCode::kUnsupportedFormat, "is not in the file");
    }
    if (link.type != H5L_TYPE_HARD) refuse(ErrorCode::kUnsupportedFormat, "is a link");
    const hid_t set = H5Dopen2(file_, name_.c_str(), H5P_DEFAULT);
    if (set < 0) corrupt("cannot be opened");
    return set;
  }

  void read_shape() {
    const Handle space(H5Dget_space(set_), H5Sclose);
    if (space < 0 || H5Sis_simple(space) <= 0) corrupt("has an unreadable shape");
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank != 2) {
      refuse(ErrorCode::kUnsupportedFormat, "has " + std::to_string(rank) + " dimensions, not 2");
    }
    if (H5Sget_simple_extent_dims(space, shape_.data(), nullptr) != 2) {
      corrupt("has an unreadable shape");
    }
  }

  void check_storage(std::uint64_t file_size) const {
    const std::size_t element = H5Tget_size(type_);
    if (element == 0 || element > 8) refuse(ErrorCode::kUnsupportedFormat, "holds no numbers");
    const std::uint64_t bytes = checked_size(path_, rows(), cols(), element);
    const Handle plan(H5Dget_create_plist(set_), H5Pclose);
    if (plan < 0 || H5Pget_external_count(plan) != 0) {
      refuse(ErrorCode::kUnsupportedFormat, "lies in other files");
    }
    // Deflate makes at most 1032 bytes of one: what promises more was not written by anyone.
    std::uint64_t most = file_size;
    switch (H5Pget_layout(plan)) {
      case H5D_CONTIGUOUS:
      case H5D_COMPACT:
        if (H5Dget_storage_size(set_) != bytes) corrupt("is not stored completely");
        break;
      case H5D_CHUNKED:
        most = file_size > UINT64_MAX / 1032 ? UINT64_MAX : file_size * 1032;
        check_chunks(plan, most);
        break;
      default:
        refuse(ErrorCode::kUnsupportedFormat, "lies in other files");
    }
    if (bytes > most) corrupt("is larger than this file can hold");
  }

  void check_chunks(hid_t plan, std::uint64_t most) const {
    const int filters = H5Pget_nfilters(plan);
    for (int i = 0; i < filters; ++i) {
      unsigned flags = 0;
      std::size_t values = 0;
      unsigned configuration = 0;
      const H5Z_filter_t filter = H5Pget_filter2(plan, static_cast<unsigned>(i), &flags, &values,
                                                 nullptr, 0, nullptr, &configuration);
      if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
          filter != H5Z_FILTER_FLETCHER32) {
        refuse(ErrorCode::kUnsupportedFormat, "uses a filter other than deflate");
      }
    }
    std::array<hsize_t, 2> chunk = {};
    if (filters < 0 || H5Pget_chunk(plan, 2, chunk.data()) != 2) corrupt("has unreadable chunks");
    // libhdf5 inflates a chunk at a time.
    if (checked_size(path_, chunk[0], chunk[1], H5Tget_size(type_)) > std::max(most, kMaxChunk)) {
      corrupt("has chunks larger than this file can hold");
    }
  }

  static constexpr std::uint64_t kMaxChunk = std::uint64_t{1} << 30;

  fs::path path_;
  std::string name_;
  Handle file_;
  Handle set_;
  Handle type_;
  std::array<hsize_t, 2> shape_ = {};
};

/// Opens the file through the seam first, for its errors and its length.
std::uint64_t checked_file_size(const FileSystem& file_system, const fs::path& path) {
  const InputFile file(file_system, path);
  constexpr std::array<unsigned char, 8> kSignature = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  std::array<std::byte, 8> start = {};
  const auto available = std::min<std::uint64_t>(start.size(), file.size());
  file.read(0, std::span(start).first(available));
  const auto expected = std::as_bytes(std::span(kSignature));
  if (!std::equal(start.begin(), start.begin() + static_cast<std::ptrdiff_t>(available),
                  expected.begin())) {
    fail(ErrorCode::kUnsupportedFormat, path, "not an HDF5 file");
  }
  if (available < start.size()) fail(ErrorCode::kCorrupt, path, "the file is truncated");
  return file.size();
}

}  // namespace

bool hdf5_available() { return true; }

Matrix read_hdf5_vectors(const FileSystem& file_system, const fs::path& path,
                         const std::string& data_set) {
  const std::uint64_t size = checked_file_size(file_system, path);
  const std::lock_guard lock(library_mutex());
  const QuietErrors quiet;
  const DataSet set(path, size, data_set);
  if (!set.is_vector_type()) {
    set.refuse(ErrorCode::kUnsupportedFormat, "holds neither floating-point numbers nor bytes");
  }
  Matrix matrix(set.rows(), set.cols());
  if (!matrix.empty()) set.read(H5T_NATIVE_FLOAT, matrix.data());
  return matrix;
}

IdMatrix read_hdf5_integers(const FileSystem& file_system, const fs::path& path,
                            const std::string& data_set) {
  const std::uint64_t size = checked_file_size(file_system, path);
  const std::lock_guard lock(library_mutex());
  const QuietErrors quiet;
  const DataSet set(path, size, data_set);
  if (!set.is_integer_type() || set.is_unsigned_64()) {
    set.refuse(ErrorCode::kUnsupportedFormat, "holds no integers of up to 63 bits");
  }
  IdMatrix matrix{set.rows(), set.cols(), {}};
  matrix.values.resize(matrix.rows * matrix.cols);
  if (!matrix.values.empty()) set.read(H5T_NATIVE_INT64, matrix.values.data());
  return matrix;
}

}  // namespace halo::io

#endif  // HALO_HAVE_HDF5
