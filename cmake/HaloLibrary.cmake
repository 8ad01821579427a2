# The library as a whole: halo::halo is libhalo.so with BUILD_SHARED_LIBS, else the static rooms.

# The umbrella header lies in integration/ and is spelled "halo/halo.h".
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/integration/halo.h ${HALO_INCLUDE_DIR}/halo/halo.h SYMBOLIC)

add_library(halo_static INTERFACE)
set_target_properties(halo_static PROPERTIES EXPORT_NAME static)
target_link_libraries(halo_static INTERFACE halo_integration)

if(HALO_SHARED)
  get_property(rooms GLOBAL PROPERTY HALO_ROOMS)
  get_property(libraries GLOBAL PROPERTY HALO_LINKED_LIBRARIES)
  list(REMOVE_DUPLICATES libraries)
  list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:halo_\\1>" OUTPUT_VARIABLE objects)
  add_library(halo_shared SHARED ${objects})
  # Before 1.0 a minor version may break the ABI, so it is part of the library's name.
  set_target_properties(halo_shared PROPERTIES
    OUTPUT_NAME halo EXPORT_NAME shared LINKER_LANGUAGE CXX
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/halo.map)
  target_compile_features(halo_shared INTERFACE cxx_std_20)
  target_include_directories(halo_shared INTERFACE $<BUILD_INTERFACE:${HALO_INCLUDE_DIR}>
                                                   $<INSTALL_INTERFACE:include>)
  target_link_libraries(halo_shared PRIVATE $<BUILD_INTERFACE:halo_flags> ${libraries})
  target_link_options(halo_shared PRIVATE
    -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/halo.map -Wl,-Bsymbolic-functions)
  if(NOT HALO_SANITIZE)
    target_link_options(halo_shared PRIVATE -Wl,--no-undefined)
  endif()
endif()

if(BUILD_SHARED_LIBS)
  add_library(halo::halo ALIAS halo_shared)
else()
  add_library(halo::halo ALIAS halo_static)
endif()
