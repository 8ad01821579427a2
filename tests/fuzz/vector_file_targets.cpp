// Vector, id, label, ground-truth and judgement files: a typed error, or values that can all be
// read.
#include <iterator>
#include <string>

#include "fuzz/targets.h"
#include "halo/integration/io/vectors.h"

namespace halo::fuzz {
namespace {

/// Looks at every value, so that a sanitizer sees each.
void look_at(const Matrix& matrix) {
  check(matrix.rows() > 0 && matrix.cols() > 0, "an empty matrix was returned");
  double sum = 0;
  for (std::size_t i = 0; i < matrix.rows(); ++i) {
    for (const float value : matrix.row_span(i)) sum += value == value ? 1 : 0.5;
  }
  check(sum > 0, "no value");
}

void look_at(const io::IdMatrix& matrix) {
  check(matrix.values.size() == matrix.rows * matrix.cols, "ids of another shape");
}

enum class What { kVectors, kIds, kLabels, kTruth };

struct Form {
  const char* name;
  What what;
};

/// Reads the input as the form that its first byte chooses.
template <std::size_t kCount>
void read_as(const Form (&forms)[kCount], Input input) {
  ByteTaker taker(input);
  const Form form = forms[taker.below(kCount)];
  const MemoryFileSystem memory(form.name, copy_of(taker.bytes(input.size())));
  accepts([&] {
    switch (form.what) {
      case What::kVectors:
        return look_at(io::load_vectors(form.name, io::VectorRole::kBase, memory));
      case What::kIds:
        return static_cast<void>(io::load_ids(form.name, memory));
      case What::kLabels:
        return static_cast<void>(io::load_labels(form.name, memory));
      case What::kTruth:
        return look_at(io::load_ground_truth(form.name, memory));
    }
  });
}

}  // namespace

void fuzz_npy(Input input) {
  constexpr Form kForms[] = {{"a.npy", What::kVectors},
                             {"a.npy", What::kIds},
                             {"a.npy", What::kLabels},
                             {"a.npy", What::kTruth}};
  read_as(kForms, input);
}

void fuzz_vecs(Input input) {
  constexpr Form kForms[] = {{"a.fvecs", What::kVectors},
                             {"a.bvecs", What::kVectors},
                             {"a.ivecs", What::kIds},
                             {"a.ivecs", What::kTruth}};
  read_as(kForms, input);
}

void fuzz_bin(Input input) {
  constexpr Form kForms[] = {
      {"a.fbin", What::kVectors}, {"a.u8bin", What::kVectors}, {"a.i8bin", What::kVectors}};
  read_as(kForms, input);
}

void fuzz_idx(Input input) {
  constexpr Form kForms[] = {{"a-ubyte", What::kVectors},
                             {"a-ubyte", What::kLabels},
                             {"a-ubyte.gz", What::kVectors},
                             {"a-ubyte.gz", What::kLabels}};
  read_as(kForms, input);
}

void fuzz_qrels(Input input) {
  ByteTaker taker(input);
  const std::size_t queries = taker.below(64);
  const MemoryFileSystem memory("qrels", copy_of(taker.bytes(input.size())));
  accepts([&] {
    const auto judgements = io::load_qrels("qrels", queries, memory);
    check(!judgements.empty(), "no judgement was returned");
    for (const io::Judgement& judgement : judgements) {
      check(judgement.query < queries && judgement.id >= 0, "a judgement out of range");
    }
  });
}

}  // namespace halo::fuzz
