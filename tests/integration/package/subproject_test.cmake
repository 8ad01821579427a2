# Fails where halo inside another project (FetchContent, add_subdirectory) brings more than its library.
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)

run(${CMAKE_COMMAND} -S ${OUTSIDE_DIR}/subproject -B ${WORK_DIR}/build ${compilers}
    -D HALO_SOURCE_DIR=${HALO_SOURCE_DIR})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build --target help)
foreach(unwanted halo_core_tests halo_tool bench_index example_refined_search libhalo.so)
  if(output MATCHES "${unwanted}")
    message(FATAL_ERROR "a subproject should not have the target ${unwanted}")
  endif()
endforeach()
foreach(wanted halo_core halo_integration)
  if(NOT output MATCHES "${wanted}")
    message(FATAL_ERROR "a subproject should have the target ${wanted}")
  endif()
endforeach()
