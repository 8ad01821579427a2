// The fuzz targets: each takes arbitrary bytes and returns, or ends the process where a promise of
// docs/reliability.md does not hold. entry.cpp makes a libFuzzer program of each, replay_test.cpp
// runs them over the seeds in corpus/ with whatever compiler the suite is built with.
//
// Thread-safety: one thread at a time.
#pragma once

#include <span>
#include <string_view>

#include "fuzz/fuzz_input.h"

namespace halo::fuzz {

// The first byte chooses the file's ending and what is read from it, the others are the file.
void fuzz_npy(Input input);
void fuzz_vecs(Input input);
void fuzz_bin(Input input);
void fuzz_idx(Input input);
void fuzz_qrels(Input input);
void fuzz_safetensors(Input input);

/// The input is a bundle; its checksums are made to match first, as an attacker would.
void fuzz_bundle(Input input);
// Sections of a bundle, each a byte for its kind, two for its size (little endian) and the
// contents.
void fuzz_snapshot(Input input);
void fuzz_model(Input input);    ///< for the index of small_engine.h
void fuzz_trained(Input input);  ///< for the index of small_engine.h

/// Operations on a LiveIndex and a VectorIndex beside a plain map.
void fuzz_operations(Input input);

/// The first byte chooses what is asked of the service, the others are a body or a path.
void fuzz_query_wire(Input input);

struct Target {
  std::string_view name;  ///< of its folder in corpus/
  void (*run)(Input input);
};

inline constexpr Target kTargets[] = {
    {"npy", fuzz_npy},
    {"vecs", fuzz_vecs},
    {"bin", fuzz_bin},
    {"idx", fuzz_idx},
    {"qrels", fuzz_qrels},
    {"safetensors", fuzz_safetensors},
    {"bundle", fuzz_bundle},
    {"snapshot", fuzz_snapshot},
    {"model", fuzz_model},
    {"trained", fuzz_trained},
    {"operations", fuzz_operations},
    {"query_wire", fuzz_query_wire},
};

}  // namespace halo::fuzz
