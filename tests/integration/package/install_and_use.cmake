# Fails where the install is incomplete, leaks private headers, or cannot be built against.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${HALO_BUILD_DIR} --prefix ${WORK_DIR}/prefix)

file(GLOB_RECURSE headers RELATIVE ${WORK_DIR}/prefix/include ${WORK_DIR}/prefix/include/*)
foreach(header IN LISTS headers)
  if(header MATCHES "/(detail|kernels|cli)/" OR NOT header MATCHES "^halo/.*\\.h$")
    message(FATAL_ERROR "${header} should not be installed")
  endif()
endforeach()
if(NOT "halo/index/graph_snapshot.h" IN_LIST headers)
  message(FATAL_ERROR "halo/index/graph_snapshot.h was not installed")
endif()

# Every public header in one source: each must get by with what is installed.
set(every_header "")
foreach(header IN LISTS headers)
  string(APPEND every_header "#include \"${header}\"\n")
endforeach()
file(WRITE ${WORK_DIR}/every_header.cpp "${every_header}")

set(flags "")
if(SANITIZE)
  set(flags "-fsanitize=${SANITIZE}")
endif()
run(${CMAKE_COMMAND} -S ${OUTSIDE_DIR} -B ${WORK_DIR}/build -G Ninja -D CMAKE_BUILD_TYPE=Release
    -D CMAKE_CXX_COMPILER=${CXX_COMPILER} -D CMAKE_CXX_FLAGS=${flags}
    -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix -D EVERY_HEADER=${WORK_DIR}/every_header.cpp)
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build)
run(${WORK_DIR}/build/outside)
if(EXISTS ${WORK_DIR}/prefix/bin/halo)
  run(${WORK_DIR}/prefix/bin/halo --help)
endif()
