#!/usr/bin/env bash
# The one list of Debian 12 packages halo is built from; installs those that are missing.
#
#   scripts/packages.sh [--tests] [--demo] [--ci] [--check] [--fuzz] [--docs] [--list]
#
# Without an option: what the library and the command need. --list only prints the names. Needs
# nothing but apt; asks sudo for the installation unless run as root, and nothing at all where
# everything is installed already.
set -euo pipefail

packages=(
  g++ cmake ninja-build           # compiler and build
  libhnswlib-dev                  # builds the HNSW graph
  libeigen3-dev libhwy-dev        # linear algebra, SIMD with run-time dispatch
  libtbb-dev                      # threads
  libxxhash-dev zlib1g-dev        # checksums, .gz files
  libpng-dev libhdf5-dev          # pictures, ann-benchmarks files
  nlohmann-json3-dev libcli11-dev # JSON, command line
  libcpp-httplib-dev liblmdb-dev  # the service: HTTP, what survives a crash
  pkgconf                         # finds those two
)
list_only=
for option in "$@"; do
  case $option in
    --tests) packages+=(dpkg-dev libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev) ;;
    --demo) packages+=(dataset-fashion-mnist curl) ;;
    --fuzz) packages+=(clang libclang-rt-14-dev) ;;
    --check) packages+=(clang clang-tidy cppcheck gcovr) ;;
    --ci) packages+=(clang clang-format clang-tidy) ;;
    --docs) packages+=(doxygen) ;;
    --list) list_only=yes ;;
    *) echo "packages.sh: unknown option $option" >&2; exit 2 ;;
  esac
done
if [[ -n $list_only ]]; then
  printf '%s\n' "${packages[@]}"
  exit
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || {
    echo "packages.sh: these packages are missing, and installing them needs root: ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "Installing: ${missing[*]}"
apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y "$@"; }
install() { apt_get -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null; }

# The lists of a fresh system are empty and those of an old one may name files that are gone.
if ! apt-cache show "${missing[@]}" >/dev/null 2>&1 || ! install; then
  apt_get update
  install
fi
