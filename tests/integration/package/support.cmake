# What the package tests share.
cmake_minimum_required(VERSION 3.25)

# Runs a command; its output is only shown where it fails.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(compilers -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_CXX_COMPILER=${CXX_COMPILER}
              -D CMAKE_C_COMPILER=${C_COMPILER})
if(SANITIZE)
  list(APPEND compilers -D CMAKE_CXX_FLAGS=-fsanitize=${SANITIZE} -D CMAKE_C_FLAGS=-fsanitize=${SANITIZE})
endif()

# build_and_run(<kind> <prefix> [cmake arguments]): the outside project with the static or shared library.
function(build_and_run kind prefix)
  set(build ${WORK_DIR}/build_${kind})
  run(${CMAKE_COMMAND} -S ${OUTSIDE_DIR}/outside -B ${build} ${compilers} -D KIND=${kind}
      -D CMAKE_PREFIX_PATH=${prefix} ${ARGN})
  run(${CMAKE_COMMAND} --build ${build})
  run(${build}/outside)
  run(${build}/in_c)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
