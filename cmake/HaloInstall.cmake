# cmake --install: public headers, one library a room, the command, and a package for find_package(halo).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY HALO_ROOMS)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/halo)

foreach(room IN LISTS rooms)
  install(TARGETS halo_${room} EXPORT haloTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  # detail/ and kernels/ are a room's own business; cli/ is a program.
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/halo/${room}
          FILES_MATCHING PATTERN "*.h"
          PATTERN "detail" EXCLUDE
          PATTERN "kernels" EXCLUDE
          PATTERN "cli" EXCLUDE)
endforeach()
install(TARGETS halo EXPORT haloTargets)
if(TARGET halo_tool)
  install(TARGETS halo_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT haloTargets NAMESPACE halo:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/haloConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/haloConfig.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break an interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/haloConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/haloConfig.cmake ${PROJECT_BINARY_DIR}/haloConfigVersion.cmake
        DESTINATION ${package_dir})
