# Flags and helpers shared by every room.

# Headers are spelled "halo/<room>/<file>.h" everywhere; in the build tree halo/<room> links to the room.
set(HALO_INCLUDE_DIR ${PROJECT_BINARY_DIR}/include)
file(MAKE_DIRECTORY ${HALO_INCLUDE_DIR}/halo)

# Flags of halo's own code only: never exported, never applied to a dependency.
add_library(halo_flags INTERFACE)
target_compile_features(halo_flags INTERFACE cxx_std_20)
target_compile_options(halo_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                                            $<$<BOOL:${HALO_WERROR}>:-Werror>)
# GCC 12 sees overlapping copies in std::string::operator+ where there are none (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(halo_flags INTERFACE -Wno-restrict)
endif()
if(HALO_SANITIZE)
  set(sanitize -fsanitize=${HALO_SANITIZE} -fno-omit-frame-pointer)
  if(HALO_SANITIZE MATCHES undefined)
    list(APPEND sanitize -fno-sanitize-recover=all)
  endif()
  target_compile_options(halo_flags INTERFACE ${sanitize})
  target_link_options(halo_flags INTERFACE ${sanitize})
endif()
if(HALO_FUZZ)
  # The macro switches off the CRC of gzip, which no fuzzer guesses; never a check of bounds.
  target_compile_options(halo_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_compile_definitions(halo_flags INTERFACE FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION=1)
  # What is fuzzed is not the kernels: two instruction sets of them are quicker to build.
  target_compile_definitions(halo_flags INTERFACE
    "HWY_DISABLED_TARGETS=(HWY_AVX3|HWY_AVX3_DL|HWY_SSE4|HWY_SSSE3)")
endif()

# halo_add_room(<name> SOURCES <cpp...> PUBLIC_DEPS <rooms...> PRIVATE_DEPS <targets...>)
function(halo_add_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC_DEPS;PRIVATE_DEPS" ${ARGN})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${HALO_INCLUDE_DIR}/halo/${name} SYMBOLIC)
  set(target halo_${name})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(halo::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON
                                             CXX_EXTENSIONS OFF)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${HALO_INCLUDE_DIR}>
                                              $<INSTALL_INTERFACE:include>)
  foreach(dep IN LISTS ARG_PUBLIC_DEPS)
    target_link_libraries(${target} PUBLIC ${dep})
  endforeach()
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:halo_flags>)
  foreach(dep IN LISTS ARG_PRIVATE_DEPS)
    if(dep MATCHES "^(Eigen3|nlohmann_json)::")
      # Headers alone: whoever links an installed halo does not need them.
      target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:${dep}>)
    else()
      halo_link_private(${name} ${dep})
    endif()
  endforeach()
  if(name IN_LIST HALO_COVERAGE)
    target_compile_options(${target} PRIVATE --coverage -O0)
    target_link_options(${target} INTERFACE --coverage)
  endif()
  set_property(GLOBAL APPEND PROPERTY HALO_ROOMS ${name})
endfunction()

# halo_link_private(<room> <libraries...>): libraries that the room, and so libhalo.so, is linked with.
function(halo_link_private name)
  target_link_libraries(halo_${name} PRIVATE ${ARGN})
  set_property(GLOBAL APPEND PROPERTY HALO_LINKED_LIBRARIES ${ARGN})
endfunction()

# halo_add_program(<target> SOURCES <cpp...> DEPS <targets...>): a test, bench, example or tool.
function(halo_add_program target)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${target} ${ARG_SOURCES})
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_link_libraries(${target} PRIVATE halo_flags ${ARG_DEPS})
endfunction()
