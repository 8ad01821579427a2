// The files of integration/service/page/ and the OpenAPI document, part of the program.
//
// Thread-safety: constant.
#pragma once

#include <span>
#include <string_view>

namespace halo::service {

struct PageFile {
  std::string_view name;  ///< "index.html"
  std::string_view type;  ///< "text/html; charset=utf-8"
  std::string_view content;
};

/// index.html is served at /, every other one under its name. Made by embed_files.cmake.
std::span<const PageFile> page_files();
std::string_view openapi_document();

}  // namespace halo::service
