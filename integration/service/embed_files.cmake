# Writes OUTPUT, a C++ source that holds FILES, a list, and OPENAPI (page_files.h).
#   cmake -D FILES=... -D OPENAPI=... -D OUTPUT=... -P embed_files.cmake
cmake_minimum_required(VERSION 3.25)

set(types_html "text/html; charset=utf-8")
set(types_css "text/css; charset=utf-8")
set(types_js "text/javascript; charset=utf-8")
set(types_svg "image/svg+xml")
set(types_png "image/png")
set(types_json "application/json")

# The bytes of a file as a C++ array (string literals have a longest length).
function(array_of file name)
  file(READ ${file} hex HEX)
  string(LENGTH "${hex}" length)
  math(EXPR length "${length} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
  string(REGEX REPLACE "(('[^']*',){16})" "\\1\n    " bytes "${bytes}")
  set(arrays "${arrays}constexpr char ${name}[] = {\n    ${bytes}'\\0'};\n" PARENT_SCOPE)
  set(array_length ${length} PARENT_SCOPE)
endfunction()

set(arrays "")
set(entries "")
set(number 0)
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  get_filename_component(ending ${file} LAST_EXT)
  string(SUBSTRING ${ending} 1 -1 ending)
  if(NOT DEFINED types_${ending})
    message(FATAL_ERROR "${file}: no media type is known for .${ending}")
  endif()
  array_of(${file} kFile${number})
  string(APPEND entries
         "    {\"${name}\", \"${types_${ending}}\", {kFile${number}, ${array_length}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
array_of(${OPENAPI} kOpenApi)

file(WRITE ${OUTPUT} "// Made by embed_files.cmake.
#include \"halo/integration/service/page_files.h\"

namespace halo::service {
namespace {

${arrays}
constexpr PageFile kFiles[] = {
${entries}};

}  // namespace

std::span<const PageFile> page_files() { return kFiles; }
std::string_view openapi_document() { return {kOpenApi, ${array_length}}; }

}  // namespace halo::service
")
