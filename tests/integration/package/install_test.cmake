# Fails where the install is incomplete, leaks private headers, or cannot be built against.
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)

set(prefix ${WORK_DIR}/prefix)
run(${CMAKE_COMMAND} --install ${HALO_BUILD_DIR} --prefix ${prefix})

file(GLOB_RECURSE headers RELATIVE ${prefix}/include ${prefix}/include/*)
foreach(header IN LISTS headers)
  if(header MATCHES "/(detail|kernels|cli|service)/" OR NOT header MATCHES "^halo/.*\\.h$")
    message(FATAL_ERROR "${header} should not be installed")
  endif()
endforeach()
foreach(header halo/halo.h halo/index/graph_snapshot.h)
  if(NOT header IN_LIST headers)
    message(FATAL_ERROR "${header} was not installed")
  endif()
endforeach()

# Every public header in one source: each must get by with what is installed.
set(every_header "")
foreach(header IN LISTS headers)
  string(APPEND every_header "#include \"${header}\"\n")
endforeach()
file(WRITE ${WORK_DIR}/every_header.cpp "${every_header}")

build_and_run(static ${prefix} -D EVERY_HEADER=${WORK_DIR}/every_header.cpp)
if(SHARED)
  build_and_run(shared ${prefix})
  run(ldd ${WORK_DIR}/build_shared/outside)
  if(NOT output MATCHES "libhalo\\.so\\.[0-9]+\\.[0-9]+ => ${prefix}/")
    message(FATAL_ERROR "the outside program does not use the installed library:\n${output}")
  endif()

  # What the library exports is halo's own.
  # (Mangled: a template's demangled name begins with what it returns.)
  run(nm -D --defined-only ${prefix}/${LIBRARY_DIR}/libhalo.so)
  string(REGEX REPLACE "[0-9a-f]+ [A-Za-z] " "" symbols "${output}")
  string(REPLACE "\n" ";" symbols "${symbols}")
  list(FILTER symbols EXCLUDE REGEX
       "^(_Z(T[VIST]|Th[n0-9_]*|Tv[n0-9_]*|GV)?Z?N[KVRO]*4halo|halo_|HALO_[0-9.]+|$)")
  if(symbols)
    list(JOIN symbols "\n" symbols)
    message(FATAL_ERROR "exported, though not halo's own:\n${symbols}")
  endif()

  # pkg-config finds the same library.
  find_program(pkg_config NAMES pkg-config pkgconf)
  if(pkg_config)
    set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBRARY_DIR}/pkgconfig)
    run(${pkg_config} --cflags --libs halo)
    string(STRIP "${output}" flags)
    separate_arguments(flags UNIX_COMMAND "${flags}")
    set(sanitize "")
    if(SANITIZE)
      set(sanitize -fsanitize=${SANITIZE})
    endif()
    run(${CXX_COMPILER} -std=c++20 ${sanitize} ${OUTSIDE_DIR}/outside/main.cpp ${flags}
        -Wl,-rpath,${prefix}/${LIBRARY_DIR} -o ${WORK_DIR}/by_pkg_config)
    run(${WORK_DIR}/by_pkg_config)
  endif()
endif()
if(EXISTS ${prefix}/bin/halo)
  run(${prefix}/bin/halo --version)
endif()
