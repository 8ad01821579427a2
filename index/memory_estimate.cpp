#include "halo/index/memory_estimate.h"

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

}  // namespace

MemoryEstimate estimate_memory(std::size_t n, std::size_t dim, const BuildOptions& options) {
  options.validate();
  if (dim == 0 || dim > 65536) {
    throw Error(ErrorCode::kInvalidArgument,
                "dimension is " + std::to_string(dim) + ", not 1 to 65536");
  }
  // No part of an index takes more than this a vector.
  const std::size_t most = 16 * dim + 64 * options.M + 1024;
  if (n > std::numeric_limits<std::size_t>::max() / 4 / most) {
    throw Error(ErrorCode::kOutOfMemory,
                std::to_string(n) + " vectors take more memory than can be addressed");
  }
  const CodeKind codes =
      options.codes.value_or(n < detail::kFewestCodedVectors ? CodeKind::kF32 : CodeKind::kInt8);
  const std::size_t row = detail::padded_width(dim) * sizeof(float);
  const std::size_t code_row = detail::StoredRows(options.metric, codes, dim).bytes;
  const bool coded = codes != CodeKind::kF32;
  // Nodes above layer 0, once for each layer: a share of 1 / (M - 1), and room for chance.
  const std::size_t upper = n / (options.M - 1) + n / (8 * options.M) + 64;

  MemoryEstimate estimate;
  estimate.vectors = n * row;
  estimate.codes = coded ? n * code_row : 0;
  constexpr std::size_t kRowOffset = sizeof(std::uint64_t);
  estimate.links = n * (2 * options.M * sizeof(Node) + kRowOffset + sizeof(Node)) +
                   upper * (options.M * sizeof(Node) + kRowOffset + sizeof(Node));
  estimate.ids = n * (sizeof(Id) + sizeof(Node));
  estimate.other = n * (1 + kRowOffset) + upper * sizeof(Node) + 4096;

  const std::size_t lists = round_up((2 * options.M + 1) * sizeof(Node));
  const std::size_t graph_row = round_up(lists + code_row + sizeof(Id));
  constexpr std::size_t kPerRow = sizeof(void*) + 40 + 16;  // list pointer, lock, level, marks
  constexpr std::size_t kKnownId = 48;                      // a hash set's node and bucket
  const std::size_t graph = n * (graph_row + kPerRow + kKnownId + sizeof(Id)) +
                            upper * ((options.M + 1) * sizeof(Node) + kLine + 16) +
                            (coded ? n * row : 0);
  // Sealing copies the links before it renumbers them.
  estimate.building = graph + estimate.links;
  return estimate;
}

}  // namespace halo
