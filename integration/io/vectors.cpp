#include "halo/integration/io/vectors.h"

#include <string>
#include <string_view>
#include <utility>

#include "halo/integration/io/bin.h"
#include "halo/integration/io/hdf5.h"
#include "halo/integration/io/idx.h"
#include "halo/integration/io/npy.h"
#include "halo/integration/io/vecs.h"

namespace halo::io {

namespace fs = std::filesystem;

namespace {

enum class Format { kNpy, kVecs, kBin, kHdf5, kIdx, kUnknown };

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

Format format_of(const fs::path& path) {
  const std::string name = lower_case(path.filename().string());
  const auto ends = [&](std::string_view ending) { return name.ends_with(ending); };
  if (ends(".npy")) return Format::kNpy;
  if (ends(".fvecs") || ends(".bvecs") || ends(".ivecs")) return Format::kVecs;
  if (ends(".fbin") || ends(".u8bin") || ends(".i8bin")) return Format::kBin;
  if (ends(".hdf5") || ends(".h5")) return Format::kHdf5;
  if (ends("-ubyte") || ends("-ubyte.gz")) return Format::kIdx;
  return Format::kUnknown;
}

/// "name.hdf5:test" is the data set "test" of name.hdf5.
std::pair<fs::path, std::string> split_data_set(const fs::path& path) {
  const std::string text = path.string();
  const std::size_t colon = text.rfind(':');
  if (colon != std::string::npos && text.find('/', colon) == std::string::npos) {
    const fs::path file = text.substr(0, colon);
    if (format_of(file) == Format::kHdf5) return {file, text.substr(colon + 1)};
  }
  return {path, ""};
}

[[noreturn]] void refuse(const fs::path& path, std::string_view what, std::string_view endings) {
  std::string text = "cannot read ";
  text += what;
  text += " from a file of this name; the endings known are ";
  text += endings;
  fail(ErrorCode::kUnsupportedFormat, path, text);
}

/// A single row or a single column, as a plain list.
std::vector<std::int64_t> as_list(const fs::path& path, IdMatrix matrix) {
  if (matrix.rows > 1 && matrix.cols > 1) {
    fail(ErrorCode::kUnsupportedFormat, path,
         "one integer a row is needed, but the file holds " + std::to_string(matrix.rows) + " x " +
             std::to_string(matrix.cols));
  }
  return std::move(matrix.values);
}

}  // namespace

Matrix load_vectors(const fs::path& path, VectorRole role, const FileSystem& file_system) {
  auto [file, data_set] = split_data_set(path);
  const auto read = [&, &name = file, &set = data_set]() -> Matrix {
    switch (format_of(name)) {
      case Format::kNpy:
        return read_npy_vectors(file_system, name);
      case Format::kVecs:
        return read_vecs_vectors(file_system, name);
      case Format::kBin:
        return read_bin_vectors(file_system, name);
      case Format::kIdx:
        return read_idx_vectors(file_system, name);
      case Format::kHdf5:
        if (set.empty()) set = role == VectorRole::kBase ? "train" : "test";
        return read_hdf5_vectors(file_system, name, set);
      case Format::kUnknown:
        break;
    }
    refuse(name, "vectors", ".npy .fvecs .bvecs .fbin .u8bin .i8bin .hdf5 -ubyte -ubyte.gz");
  };
  Matrix vectors = reporting_memory(path, read);
  if (vectors.empty()) fail(ErrorCode::kEmpty, path, "holds no vectors");
  return vectors;
}

std::vector<std::int64_t> load_ids(const fs::path& path, const FileSystem& file_system) {
  return reporting_memory(path, [&]() -> std::vector<std::int64_t> {
    switch (format_of(path)) {
      case Format::kNpy:
        return as_list(path, read_npy_integers(file_system, path));
      case Format::kVecs:
        return as_list(path, read_vecs_integers(file_system, path));
      default:
        refuse(path, "ids", ".npy .ivecs");
    }
  });
}

std::vector<std::int64_t> load_labels(const fs::path& path, const FileSystem& file_system) {
  return reporting_memory(path, [&]() -> std::vector<std::int64_t> {
    switch (format_of(path)) {
      case Format::kNpy:
        return as_list(path, read_npy_integers(file_system, path));
      case Format::kVecs:
        return as_list(path, read_vecs_integers(file_system, path));
      case Format::kIdx:
        return read_idx_labels(file_system, path);
      default:
        refuse(path, "labels", ".npy .ivecs -ubyte -ubyte.gz");
    }
  });
}

IdMatrix load_ground_truth(const fs::path& path, const FileSystem& file_system) {
  const auto [file, data_set] = split_data_set(path);
  const auto read = [&, &name = file, &set = data_set]() -> IdMatrix {
    switch (format_of(name)) {
      case Format::kNpy:
        return read_npy_integers(file_system, name);
      case Format::kVecs:
        return read_vecs_integers(file_system, name);
      case Format::kHdf5:
        return read_hdf5_integers(file_system, name, set.empty() ? "neighbors" : set);
      default:
        refuse(name, "ground truth", ".npy .ivecs .hdf5");
    }
  };
  IdMatrix neighbours = reporting_memory(path, read);
  if (neighbours.values.empty()) fail(ErrorCode::kEmpty, path, "holds no neighbours");
  return neighbours;
}

}  // namespace halo::io
