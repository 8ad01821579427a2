#include "halo/integration/io/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace halo::io {

namespace {

class PlainSource : public ByteSource {
 public:
  PlainSource(const FileSystem& file_system, const std::filesystem::path& path)
      : file_(file_system, path) {}

  void read(std::span<std::byte> out) override {
    file_.read(offset_, out);
    offset_ += out.size();
  }
  void expect_end() override {
    if (offset_ != file_.size()) {
      fail(ErrorCode::kCorrupt, file_.path(),
           std::to_string(file_.size() - offset_) + " bytes after the end of the contents");
    }
  }
  std::uint64_t file_bytes() const override { return file_.size(); }
  std::uint64_t most_bytes() const override { return file_.size(); }

 private:
  InputFile file_;
  std::uint64_t offset_ = 0;
};

class GzipSource : public ByteSource {
 public:
  GzipSource(const FileSystem& file_system, const std::filesystem::path& path)
      : file_(file_system, path), input_(kInputBytes) {
    std::byte magic[2] = {};
    if (file_.size() == 0) fail(ErrorCode::kCorrupt, path, "the file is empty");
    if (file_.size() >= sizeof magic) file_.read(0, magic);
    if (magic[0] != std::byte{0x1f} || magic[1] != std::byte{0x8b}) {
      fail(ErrorCode::kUnsupportedFormat, path, "not a gzip file");
    }
    // 16: a gzip wrapper, and nothing else.
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) {
      throw Error(ErrorCode::kOutOfMemory, "cannot allocate zlib's state");
    }
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    inflateValidate(&stream_, 0);  // the CRC, which no fuzzer guesses
#endif
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  void read(std::span<std::byte> out) override {
    while (!out.empty()) {
      const std::size_t count = inflate_some(out);
      if (count == 0) {
        fail(ErrorCode::kCorrupt, file_.path(), "the compressed contents end too early");
      }
      out = out.subspan(count);
    }
  }
  void expect_end() override {
    std::byte one_more[1];
    if (inflate_some(one_more) != 0) {
      fail(ErrorCode::kCorrupt, file_.path(), "more contents than the header promises");
    }
    if (stream_.avail_in != 0 || offset_ != file_.size()) {
      fail(ErrorCode::kCorrupt, file_.path(), "bytes after the end of the compressed contents");
    }
  }
  std::uint64_t file_bytes() const override { return file_.size(); }
  std::uint64_t most_bytes() const override {
    // Deflate makes at most 1032 bytes of one (zlib's technical notes).
    constexpr std::uint64_t kMaxRatio = 1032;
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
    return file_.size() > kMax / kMaxRatio ? kMax : file_.size() * kMaxRatio;
  }

 private:
  static constexpr std::size_t kInputBytes = std::size_t{1} << 18;

  /// Inflates up to out.size() bytes; 0 only at the verified end of the stream.
  std::size_t inflate_some(std::span<std::byte> out) {
    const auto wanted = static_cast<uInt>(std::min<std::size_t>(out.size(), 1u << 30));
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = wanted;
    while (!ended_ && stream_.avail_out == wanted) {
      if (stream_.avail_in == 0) refill();
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) {
        ended_ = true;
      } else if (result == Z_MEM_ERROR) {
        throw Error(ErrorCode::kOutOfMemory, "cannot allocate zlib's window");
      } else if (result != Z_OK) {
        fail(ErrorCode::kCorrupt, file_.path(),
             std::string("the compressed contents are garbled") +
                 (stream_.msg != nullptr ? std::string(": ") + stream_.msg : ""));
      }
    }
    return wanted - stream_.avail_out;
  }
  void refill() {
    const auto count = std::min<std::uint64_t>(input_.size(), file_.size() - offset_);
    if (count == 0) {
      fail(ErrorCode::kCorrupt, file_.path(), "the compressed contents are cut off");
    }
    file_.read(offset_, std::span(input_).first(count));
    offset_ += count;
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(count);
  }

  InputFile file_;
  std::vector<std::byte> input_;
  std::uint64_t offset_ = 0;
  z_stream stream_ = {};
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> plain_source(const FileSystem& file_system,
                                         const std::filesystem::path& path) {
  return std::make_unique<PlainSource>(file_system, path);
}

std::unique_ptr<ByteSource> gzip_source(const FileSystem& file_system,
                                        const std::filesystem::path& path) {
  return std::make_unique<GzipSource>(file_system, path);
}

}  // namespace halo::io
