// Bundles and what they hold: a typed error, or an index that answers.
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fuzz/small_engine.h"
#include "fuzz/targets.h"
#include "halo/index/vector_index.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/model_io.h"
#include "halo/integration/io/snapshot_io.h"
#include "halo/integration/io/trained_io.h"

namespace halo::fuzz {
namespace {

constexpr std::size_t kHeader = 64, kEntry = 64;

template <class T>
T number_at(const Bytes& bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void put_checksum(Bytes& bytes, std::size_t at, std::size_t begin, std::size_t size) {
  const std::uint64_t checksum = XXH3_64bits(bytes.data() + begin, size);
  std::memcpy(bytes.data() + at, &checksum, sizeof checksum);
}

/// Makes every checksum match that has a place in the file.
void reseal(Bytes& bytes) {
  if (bytes.size() < kHeader) return;
  const std::uint64_t count = number_at<std::uint32_t>(bytes, 12);
  if (count <= (bytes.size() - kHeader) / kEntry) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t entry = kHeader + i * kEntry;
      const auto offset = number_at<std::uint64_t>(bytes, entry + 8);
      const auto size = number_at<std::uint64_t>(bytes, entry + 16);
      if (offset <= bytes.size() && size <= bytes.size() - offset) {
        put_checksum(bytes, entry + 24, offset, size);
      }
    }
    put_checksum(bytes, 24, kHeader, count * kEntry);
  }
  put_checksum(bytes, 56, 0, 56);
}

/// A bundle of the sections that `input` spells out; a kind that comes again is left out.
MemoryFileSystem bundle_of(Input input) {
  io::BundleWriter writer;
  std::set<std::uint8_t> seen;
  for (ByteTaker taker(input); !taker.empty();) {
    const auto kind = taker.number<std::uint8_t>();
    const auto size = taker.number<std::uint16_t>();
    const Input contents = taker.bytes(size);
    if (seen.insert(kind).second) {
      writer.add(static_cast<io::SectionKind>(kind), "section", copy_of(contents));
    }
  }
  MemoryFileSystem memory;
  writer.write("file", {}, memory);
  return memory;
}

io::BundleReader open(const MemoryFileSystem& memory) {
  return io::BundleReader("file", io::BundleReader::Check::kStructure, memory);
}

void expect_results(const BatchResults& results, std::size_t queries) {
  for (std::size_t q = 0; q < queries; ++q) {
    for (std::size_t i = 0; i < results.found[q]; ++i) {
      check(results.ids[q * results.k + i] >= 0, "a result without an id");
      check(std::isfinite(results.scores[q * results.k + i]), "a score that is not finite");
    }
  }
}

/// Searches from a few of the index's own vectors, and adds to it.
void use(const std::shared_ptr<const GraphSnapshot>& snapshot) {
  const Executor executor(1);
  const std::size_t queries = std::min<std::size_t>(2, snapshot->size());
  Matrix rows = Matrix::padded(queries, snapshot->dim());
  for (std::size_t q = 0; q < queries; ++q) {
    const auto vector = snapshot->vector(static_cast<Node>(q));
    std::copy(vector.begin(), vector.end(), rows.row(q));
  }
  const Engine engine(snapshot);
  expect_results(engine.search(rows, {.k = 1, .ef = 8}, executor), queries);
  Id unused = 0;
  while (std::ranges::find(snapshot->ids(), unused) != snapshot->ids().end()) ++unused;
  VectorIndex index = VectorIndex::resume(*snapshot, executor);
  index.add(rows.view().sub_rows(0, 1), std::span(&unused, 1), executor);
  check(index.seal(executor)->size() == snapshot->size() + 1, "the added vector is not there");
}

}  // namespace

void fuzz_bundle(Input input) {
  Bytes bytes = copy_of(input);
  reseal(bytes);
  const MemoryFileSystem memory("file", bytes);
  accepts([&] {
    const io::BundleReader reader("file", io::BundleReader::Check::kEverything, memory);
    // There is exactly one byte sequence for given sections.
    io::BundleWriter writer;
    for (const auto& section : reader.sections()) {
      writer.add(section.kind, section.name, reader.read(section));
    }
    MemoryFileSystem again;
    writer.write("file", {}, again);
    check(again.get("file") == bytes, "a bundle that this version does not write was accepted");
  });
}

void fuzz_snapshot(Input input) {
  const MemoryFileSystem memory = bundle_of(input);
  accepts([&] { use(io::read_snapshot(open(memory))); });
}

void fuzz_model(Input input) {
  const MemoryFileSystem memory = bundle_of(input);
  accepts([&] {
    const auto model = io::read_model(open(memory));
    if (!model) return;
    const Engine engine(small_engine().snapshot(), model);
    // A batch large enough to measure the harm gate on, and one query alone.
    static const Matrix kQueries = [] {
      Matrix queries(51, kSmallDim);
      const Matrix vectors = small_vectors();
      for (std::size_t q = 0; q < queries.rows(); ++q) {
        std::ranges::copy(vectors.row_span(q % kSmallSize), queries.row(q));
      }
      return queries;
    }();
    for (const std::size_t count : {kQueries.rows(), std::size_t{1}}) {
      expect_results(engine.search(kQueries.view().sub_rows(0, count),
                                   {.k = 5, .refine = RefineMode::kAuto}, Executor(1)),
                     count);
    }
  });
}

void fuzz_trained(Input input) {
  const MemoryFileSystem memory = bundle_of(input);
  accepts([&] {
    const auto trained = io::read_trained(open(memory));
    if (!trained) return;
    const Engine engine(small_engine().snapshot(), nullptr, trained);
    expect_results(engine.search(small_vectors().view().sub_rows(0, 6),
                                 {.k = 5, .refine = RefineMode::kTrained}, Executor(1)),
                   6);
  });
}

}  // namespace halo::fuzz
