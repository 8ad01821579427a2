// Small valid files of every format, built byte by byte.
#pragma once

#include <zlib.h>

#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "integration/io/memory_file_system.h"

namespace halo::io::test {

/// The values as they lie in memory, which is little endian.
template <class T>
Bytes raw(std::initializer_list<T> values) {
  const auto view = std::as_bytes(std::span(values.begin(), values.size()));
  return Bytes(view.begin(), view.end());
}

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A .npy file as numpy.save writes it, with `dictionary` as it stands.
inline Bytes npy(std::string dictionary, const Bytes& data, char major = 1) {
  const std::size_t start = major == 1 ? 10 : 12;
  dictionary.resize((start + dictionary.size() + 1 + 63) / 64 * 64 - start - 1, ' ');
  dictionary += '\n';
  std::string head = std::string("\x93NUMPY") + major + '\0';
  head += static_cast<char>(dictionary.size() & 0xff);
  head += static_cast<char>(dictionary.size() >> 8);
  if (major > 1) head += std::string(2, '\0');
  return bytes_of(head + dictionary) + data;
}

inline Bytes npy(const std::string& descr, const std::string& shape, const Bytes& data,
                 char major = 1) {
  return npy("{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }", data,
             major);
}

/// IDX with unsigned bytes.
inline Bytes idx(std::initializer_list<std::uint32_t> shape, const Bytes& data,
                 unsigned char type = 8) {
  Bytes file = {std::byte{0}, std::byte{0}, std::byte{type},
                std::byte{static_cast<unsigned char>(shape.size())}};
  for (const std::uint32_t size : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      file.push_back(std::byte{static_cast<unsigned char>(size >> shift & 0xff)});
    }
  }
  return file + data;
}

/// One gzip member.
inline Bytes gzip(const Bytes& plain) {
  z_stream stream = {};
  if (deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  Bytes file(deflateBound(&stream, plain.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(file.data());
  stream.avail_out = static_cast<uInt>(file.size());
  const int result = deflate(&stream, Z_FINISH);
  file.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("deflate");
  return file;
}

}  // namespace halo::io::test
