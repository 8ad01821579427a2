// safetensors: a typed error, or tensors that are written and read back the same; and what is made
// of them as a model of an index.
#include <cstring>

#include "fuzz/small_engine.h"
#include "fuzz/targets.h"
#include "halo/integration/io/model_tensors.h"
#include "halo/integration/io/safetensors.h"
#include "halo/integration/train.h"

namespace halo::fuzz {
namespace {

/// NaN is a value like any other here.
bool same_values(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void expect_round_trip(const io::TensorFile& file) {
  MemoryFileSystem memory;
  io::write_safetensors("again", file, memory);
  const io::TensorFile again = io::read_safetensors("again", memory);
  check(again.metadata == file.metadata && again.tensors.size() == file.tensors.size(),
        "other tensors are read back");
  // Tensors without bytes may change places: they begin where others do.
  for (const io::NamedTensor& tensor : file.tensors) {
    const io::NamedTensor& found = again.at(tensor.name);
    check(found.shape == tensor.shape && same_values(found.values, tensor.values),
          "a tensor is read back otherwise");
  }
}

}  // namespace

void fuzz_safetensors(Input input) {
  const MemoryFileSystem memory("file", copy_of(input));
  if (!accepts([&] { expect_round_trip(io::read_safetensors("file", memory)); })) return;
  const Engine& engine = small_engine();
  accepts([&] {
    auto learned = io::import_model("file", *engine.snapshot(), memory);
    const Executor executor(1);
    const Engine with = engine.with_trained(
        prepare_trained(*engine.snapshot(), std::move(learned), {}, 0, executor));
    const auto results = with.search(small_vectors().view().sub_rows(0, 4),
                                     {.k = 3, .refine = RefineMode::kTrained}, executor);
    for (const std::size_t found : results.found) check(found == 3, "results are missing");
  });
}

}  // namespace halo::fuzz
