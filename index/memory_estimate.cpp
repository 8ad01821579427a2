#include "halo/index/memory_estimate.h"

#include <algorithm>
#include <limits>
#include <string>

#include "halo/core/error.h"
#include "halo/index/detail/choose_codes.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/row_scorer.h"

namespace halo {
namespace {

constexpr std::size_t kLine = 64;

std::size_t round_up(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

void check_range(std::size_t n, std::size_t dim, const BuildOptions& options) {
  options.validate();
  if (dim == 0 || dim > 65536) {
    throw Error(ErrorCode::kInvalidArgument,
                "dimension is " + std::to_string(dim) + ", not 1 to 65536");
  }
  // No part of an index takes more than this a vector.
  const std::size_t most = 16 * dim + 64 * options.M + 1024;
  if (n > std::numeric_limits<std::size_t>::max() / 16 / most) {
    throw Error(ErrorCode::kOutOfMemory,
                std::to_string(n) + " vectors take more memory than can be addressed");
  }
}

// Bytes of one vector in each form.
struct Rows {
  Rows(std::size_t n, std::size_t dim, const BuildOptions& options)
      : kind(options.codes.value_or(n < detail::kFewestCodedVectors ? CodeKind::kF32
                                                                    : CodeKind::kInt8)),
        coded(kind != CodeKind::kF32),
        vector(detail::padded_width(dim) * sizeof(float)),
        code(detail::StoredRows(options.metric, kind, dim).bytes) {}
  CodeKind kind;
  bool coded;
  std::size_t vector, code;
};

// Nodes above layer 0, once for each layer: a share of 1 / (M - 1), and room for chance.
std::size_t upper_nodes(std::size_t n, std::size_t M) { return n / (M - 1) + n / (8 * M) + 64; }

constexpr std::size_t kRowOffset = sizeof(std::uint64_t);
constexpr std::size_t kKnownId = 48;  // a hash set's node and bucket
// hnswlib makes 65,536 locks for an empty graph, which hnsw_builder.cpp frees again.
constexpr std::size_t kEmptyGraph = 65536 * 40;

// hnswlib's graph with room for `capacity` vectors; with codes, the vectors beside it.
std::size_t graph_bytes(std::size_t capacity, const Rows& rows, std::size_t M) {
  const std::size_t lists = round_up((2 * M + 1) * sizeof(Node));
  const std::size_t row = round_up(lists + rows.code + sizeof(Id));
  constexpr std::size_t kPerRow = sizeof(void*) + 40 + 16;  // list pointer, lock, level, marks
  return capacity * (row + kPerRow + (rows.coded ? rows.vector : 0));
}

// What is allocated for each vector in it: its id, and its lists of upper layers.
std::size_t entry_bytes(std::size_t n, std::size_t M) {
  return n * (kKnownId + sizeof(Id)) + upper_nodes(n, M) * ((M + 1) * sizeof(Node) + kLine + 16);
}

}  // namespace

MemoryEstimate estimate_memory(std::size_t n, std::size_t dim, const BuildOptions& options) {
  check_range(n, dim, options);
  const Rows rows(n, dim, options);
  const std::size_t upper = upper_nodes(n, options.M);
  MemoryEstimate estimate;
  const CodeKind stored = options.stored.value_or(CodeKind::kF32);
  // Vectors and codes of one kind are the same bytes.
  estimate.vectors = rows.coded && stored == rows.kind
                         ? 0
                         : n * detail::StoredRows(options.metric, stored, dim).bytes;
  estimate.codes = rows.coded ? n * rows.code : 0;
  estimate.links = n * (2 * options.M * sizeof(Node) + kRowOffset + sizeof(Node)) +
                   upper * (options.M * sizeof(Node) + kRowOffset + sizeof(Node));
  estimate.ids = n * (sizeof(Id) + sizeof(Node));
  estimate.other = n * (1 + kRowOffset) + upper * sizeof(Node) + 4096;
  // Sealing copies the links before it renumbers them.
  estimate.building = graph_bytes(n, rows, options.M) + entry_bytes(n, options.M) + estimate.links;
  // Sealed as floats first.
  if (stored != CodeKind::kF32) estimate.building += n * rows.vector;
  return estimate;
}

std::size_t estimate_growth(std::size_t size, std::size_t capacity, std::size_t added,
                            std::size_t dim, const BuildOptions& options) {
  check_range(std::max(size, capacity) + added, dim, options);
  const std::size_t M = options.M, total = size + added;
  const Rows rows(total, dim, options);
  const bool grows = total > capacity;
  // As hnsw_builder.cpp grows.
  const std::size_t room = grows ? std::max(total, capacity * 3 / 2) : capacity;
  const std::size_t graph = graph_bytes(room, rows, M) + entry_bytes(total, M);
  // The lists that linking may change, kept in vectors that double.
  const std::size_t journal = size * 2 * ((2 * M + 2) * sizeof(Node) + 32);
  const std::size_t adding =
      graph + (grows ? graph_bytes(capacity, rows, M) : 0) + journal + added * (2 * sizeof(Id) + 1);

  const MemoryEstimate sealed = estimate_memory(total, dim, options);
  // Numbers of nodes in several orders, and the undirected graph that orders them.
  const std::size_t orders = total * (6 * sizeof(Node) + 2 * sizeof(std::uint64_t)) +
                             2 * (sealed.links + total * sizeof(std::uint64_t));
  // An index that chooses its codes tries bfloat16 beside 8-bit ones.
  const bool chooses = !options.codes && rows.coded;
  const std::size_t tried =
      chooses ? total * detail::StoredRows(options.metric, CodeKind::kBf16, dim).bytes : 0;
  // Vectors that are not kept as floats are sealed as floats first, beside another copy of the
  // graph.
  const bool kept_otherwise = options.stored.value_or(CodeKind::kInt8) != CodeKind::kF32;
  const std::size_t floats =
      (kept_otherwise ? sealed.links + sealed.ids + sealed.other : 0) +
      (kept_otherwise && options.stored.has_value() ? total * rows.vector : 0);
  const std::size_t sealing =
      graph + sealed.links + std::max(orders, sealed.sealed() + std::max(tried, floats));
  return std::max({adding, sealing, kEmptyGraph}) + 65536;
}

void check_memory_limit(std::size_t bytes, std::size_t limit, const char* doing) {
  if (bytes <= limit) return;
  throw Error(ErrorCode::kMemoryLimit, std::string(doing) + " would take up to " +
                                           std::to_string(bytes) + " bytes, the limit is " +
                                           std::to_string(limit));
}

}  // namespace halo
