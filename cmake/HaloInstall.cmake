# cmake --install: public headers, libhalo.so, one static library a room, the command, packages for
# find_package(halo) and pkg-config; cpack: Debian packages of the same.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY HALO_ROOMS)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/halo)

foreach(room IN LISTS rooms)
  install(TARGETS halo_${room} EXPORT haloStaticTargets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
  # detail/ and kernels/ are a room's own business; cli/ and service/ are a program.
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/halo/${room}
          COMPONENT dev
          FILES_MATCHING PATTERN "*.h"
          PATTERN "halo.h" EXCLUDE
          PATTERN "detail" EXCLUDE
          PATTERN "kernels" EXCLUDE
          PATTERN "cli" EXCLUDE
          PATTERN "service" EXCLUDE)
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/integration/halo.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/halo
        COMPONENT dev)
install(FILES ${PROJECT_SOURCE_DIR}/integration/capi/halo.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/halo/integration/capi COMPONENT dev)
install(TARGETS halo_static EXPORT haloStaticTargets)
install(EXPORT haloStaticTargets NAMESPACE halo:: DESTINATION ${package_dir} COMPONENT dev)

if(HALO_SHARED)
  install(TARGETS halo_shared EXPORT haloSharedTargets
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev)
  install(EXPORT haloSharedTargets NAMESPACE halo:: DESTINATION ${package_dir} COMPONENT dev)
  # The file finds its prefix from where it lies, so that an install can be moved.
  file(RELATIVE_PATH HALO_PREFIX_FROM_PC /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/halo.pc.in ${PROJECT_BINARY_DIR}/halo.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/halo.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
          COMPONENT dev)
endif()
if(TARGET halo_tool)
  install(TARGETS halo_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/haloConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/haloConfig.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break an interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/haloConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/haloConfig.cmake ${PROJECT_BINARY_DIR}/haloConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT dev)

if(PROJECT_IS_TOP_LEVEL)
  include(HaloPackages)
endif()
