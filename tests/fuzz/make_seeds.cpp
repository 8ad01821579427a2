// Writes the seed corpus: one small valid input or a few for each target.
//
//   halo_make_seeds <folder>      tests/fuzz/corpus, for those that are committed
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "fuzz/small_engine.h"
#include "fuzz/targets.h"
#include "halo/core/random.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/model_io.h"
#include "halo/integration/io/model_tensors.h"
#include "halo/integration/io/safetensors.h"
#include "halo/integration/io/snapshot_io.h"
#include "halo/integration/io/trained_io.h"
#include "integration/io/samples.h"

namespace halo::fuzz {
namespace {

using io::test::bytes_of;
using io::test::operator+;
using io::test::raw;

class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void add(const std::string& target, const std::string& name, const Bytes& bytes) {
    std::filesystem::create_directories(folder_ / target);
    std::ofstream file(folder_ / target / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + target + "/" + name);
    total_ += bytes.size();
  }
  std::size_t total() const { return total_; }

 private:
  std::filesystem::path folder_;
  std::size_t total_ = 0;
};

/// The choice that a target takes off the front, before the file.
Bytes chosen(unsigned char choice, const Bytes& file) { return Bytes{std::byte{choice}} + file; }

void add_vector_files(Corpus& corpus) {
  using io::test::gzip;
  using io::test::idx;
  using io::test::npy;
  const Bytes six = raw<float>({1, 2, 3, 4, 5, 6});
  corpus.add("npy", "f4", chosen(0, npy("<f4", "(2, 3)", six)));
  corpus.add("npy", "f8-v2", chosen(0, npy("<f8", "(1, 3)", six, 2)));
  corpus.add("npy", "f2-v3", chosen(0, npy("<f2", "(4, 3)", six, 3)));
  corpus.add("npy", "ids", chosen(1, npy("<i8", "(3,)", six)));
  corpus.add("npy", "labels", chosen(2, npy("<u2", "(12,)", six)));
  corpus.add("npy", "truth", chosen(3, npy("<i4", "(2, 3)", six)));
  corpus.add("vecs", "fvecs", chosen(0, raw<std::int32_t>({2, 5, 6, 2, 7, 8, 2, 9, 9})));
  corpus.add("vecs", "bvecs", chosen(1, raw<std::int32_t>({4, 5, 4, 7})));
  corpus.add("vecs", "ids", chosen(2, raw<std::int32_t>({1, 6, 1, 7})));
  corpus.add("vecs", "truth", chosen(3, raw<std::int32_t>({2, 5, 6, 2, 7, 8})));
  corpus.add("bin", "fbin", chosen(0, raw<std::uint32_t>({2, 3}) + six));
  corpus.add("bin", "u8bin", chosen(1, raw<std::uint32_t>({8, 3}) + six));
  corpus.add("bin", "i8bin", chosen(2, raw<std::uint32_t>({3, 8}) + six));
  const Bytes images = idx({2, 2, 3}, Bytes(12, std::byte{7}));
  corpus.add("idx", "images", chosen(0, images));
  corpus.add("idx", "labels", chosen(1, idx({5}, Bytes(5))));
  corpus.add("idx", "images-gz", chosen(2, gzip(images)));
  corpus.add("idx", "labels-gz", chosen(3, gzip(idx({5}, Bytes(5)))));
  corpus.add("qrels", "trec", chosen(10, bytes_of("0 0 17 1\r\n\n3 0 5 -2\n9 Q0 123456789 0\n")));
}

MemoryFileSystem saved(const Engine& engine) {
  MemoryFileSystem memory;
  io::BundleWriter writer;
  io::write_snapshot(writer, *engine.snapshot());
  if (engine.model()) io::write_model(writer, *engine.model());
  if (engine.trained()) io::write_trained(writer, *engine.trained());
  writer.write("file", {}, memory);
  return memory;
}

/// The sections of the kinds from `first` to `last`, as the targets read them.
Bytes sections_of(const MemoryFileSystem& memory, std::uint32_t first, std::uint32_t last) {
  const io::BundleReader reader("file", io::BundleReader::Check::kEverything, memory);
  Bytes spelled;
  for (const auto& section : reader.sections()) {
    const auto kind = static_cast<std::uint32_t>(section.kind);
    if (kind < first || kind > last) continue;
    const Bytes contents = reader.read(section);
    spelled = spelled + Bytes{static_cast<std::byte>(kind)} +
              raw<std::uint16_t>({static_cast<std::uint16_t>(contents.size())}) + contents;
  }
  return spelled;
}

void add_bundles(Corpus& corpus) {
  const Engine& engine = small_engine();
  MemoryFileSystem memory;
  io::BundleWriter writer;
  writer.add(io::SectionKind{100}, "first", bytes_of("hello"));
  writer.add(io::SectionKind{101}, "empty", {});
  writer.write("file", {}, memory);
  corpus.add("bundle", "two-sections", memory.get("file"));
  corpus.add("bundle", "plain", saved(Engine(engine.snapshot())).get("file"));

  const MemoryFileSystem whole = saved(engine);
  corpus.add("snapshot", "l2", sections_of(whole, 1, 15));
  const Executor executor(1);
  for (const Metric metric : {Metric::kInnerProduct, Metric::kCosine}) {
    BuildOptions options;
    options.metric = metric;
    options.M = 2;
    options.codes = metric == Metric::kCosine ? CodeKind::kInt8 : CodeKind::kBf16;
    const Matrix vectors = small_vectors();
    const Engine other = Engine::build(vectors.view().sub_rows(0, 9), {}, options, executor);
    corpus.add("snapshot", metric == Metric::kCosine ? "cosine-int8" : "ip-bf16",
               sections_of(saved(other), 1, 15));
  }
  corpus.add("model", "refined", sections_of(whole, 16, 31));
  corpus.add("trained", "classes", sections_of(whole, 32, 47));
}

void add_tensors(Corpus& corpus) {
  MemoryFileSystem memory;
  io::export_model("model", *small_engine().trained(), memory);
  corpus.add("safetensors", "model", memory.get("model"));
  const std::string header = R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]},)"
                             R"("c":{"dtype":"F64","shape":[],"data_offsets":[8,16]},)"
                             R"("d":{"dtype":"F32","shape":[0,3],"data_offsets":[16,16]}})";
  corpus.add("safetensors", "types",
             raw<std::uint64_t>({header.size()}) + bytes_of(header) + Bytes(16, std::byte{0x3c}));
}

void add_operations(Corpus& corpus) {
  for (unsigned char seed = 0; seed < 6; ++seed) {
    Random random(seed);
    Bytes bytes = {std::byte{seed}, std::byte{seed}, std::byte{2}};
    for (int i = 0; i < 300; ++i) bytes.push_back(static_cast<std::byte>(random.below(250)));
    corpus.add("operations", "random-" + std::to_string(seed), bytes);
  }
}

void add_query_wire(Corpus& corpus) {
  const auto add = [&](const std::string& name, unsigned char kind, const std::string& text) {
    corpus.add("query_wire", name, chosen(kind, bytes_of(text)));
  };
  add("vector", 0, R"({"vector": [1, -2.5, 3e-1, 0], "k": 3, "ef": 10, "explain": true})");
  add("vectors", 0, R"({"vectors": [[1,2,3,4],[0.5,0.25,-1,1e2]], "refine": "auto"})");
  add("base64", 0, R"({"vector_base64": "AACAPwAAAMAAAAAAAACAPw==", "with_metadata": true})");
  add("filter", 0,
      R"({"id": 7, "filter": {"kind": {"in": ["boot", "x"]}, "price": {"gte": 3, "lt": 20},)"
      R"( "new": true}, "deadline_ms": 1000, "candidates": 20})");
  add("item", 1, "items/7?vector=1");
  add("items", 1, "items?from=3");
  add("neighbours", 1, "items/7/neighbours?layer=0");
  add("jobs", 1, "jobs/1");
  add("write", 2,
      R"({"items": [{"id": 1, "vector": [1,2,3,4], "metadata": {"kind": "\u0061\n"}},)"
      R"( {"id": 2, "vector_base64": "AACAPw=="}]})");
  add("ids", 3, R"({"ids": [1, 2, 9223372036854775807]})");
  add("create", 3, R"({"dim": 4, "metric": "cosine", "M": 16, "ef_construction": 200, "seed": 1})");
  add("refine", 3, R"({"sample_queries": [[1,2,3,4]], "window": 16, "layers": 2})");
  add("train", 3,
      R"({"queries": [[1,2,3,4]], "judgements": [{"query": 0, "id": 3, "grade": 2}],)"
      R"( "validation_fraction": 0.2, "epochs": 3})");
}

}  // namespace

std::size_t make_seeds(const std::filesystem::path& folder) {
  Corpus corpus(folder);
  add_vector_files(corpus);
  add_bundles(corpus);
  add_tensors(corpus);
  add_operations(corpus);
  add_query_wire(corpus);
  return corpus.total();
}

}  // namespace halo::fuzz

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s <folder>\n", arguments[0]);
    return 2;
  }
  std::printf("%zu bytes\n", halo::fuzz::make_seeds(arguments[1]));
}
