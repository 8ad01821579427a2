# The Debian 12 packages halo is built from; scripts/packages.sh installs them.
find_package(Threads REQUIRED)
find_package(TBB REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(hwy REQUIRED CONFIG)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(HDF5 COMPONENTS C)

# hnswlib and xxhash are single headers without a CMake package.
find_path(HALO_HNSWLIB_INCLUDE_DIR hnswlib/hnswlib.h REQUIRED)
find_path(HALO_XXHASH_INCLUDE_DIR xxhash.h REQUIRED)

if(HALO_TOOLS)
  find_package(CLI11 2.1 REQUIRED)
endif()
if(HALO_TESTS)
  find_package(GTest 1.12 REQUIRED)
  find_package(rapidcheck REQUIRED)
endif()
if(HALO_BENCH)
  find_package(benchmark 1.7 REQUIRED)
endif()
