/* The version of these headers, and of the library that is linked: semantic versioning; before 1.0
 * a minor version may break an interface. CMake reads the numbers from here. Valid C and C++. */
#pragma once

#define HALO_VERSION_MAJOR 0
#define HALO_VERSION_MINOR 1
#define HALO_VERSION_PATCH 0
#define HALO_VERSION_STRING "0.1.0"

/* For comparisons in the preprocessor: HALO_VERSION >= HALO_VERSION_NUMBER(0, 1, 0). */
#define HALO_VERSION_NUMBER(major, minor, patch) ((major)*10000 + (minor)*100 + (patch))
#define HALO_VERSION HALO_VERSION_NUMBER(HALO_VERSION_MAJOR, HALO_VERSION_MINOR, HALO_VERSION_PATCH)
