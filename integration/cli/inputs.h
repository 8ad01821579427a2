// The files commands read and write, checked against each other. Thread-safety: free functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"

namespace halo::cli {

/// Vectors in any form halo reads; throws kEmpty where the file holds none.
Matrix read_vectors(const std::filesystem::path& path);
/// Ids or labels: a one-dimensional list of integers.
std::vector<std::int64_t> read_integers(const std::filesystem::path& path);

/// The owner of a ResultIds table.
struct IdTable {
  std::vector<Id> ids;
  std::size_t k = 0;
  ResultIds view() const { return {ids, k}; }
};
/// True neighbours: one row of ids a query.
IdTable read_ground_truth(const std::filesystem::path& path);
/// TREC qrels whose query and document names are numbers: query row, 0, id, grade.
std::vector<Judgement> read_judgements(const std::filesystem::path& path);

void write_ids(const std::filesystem::path& path, const BatchResults& results);
void write_scores(const std::filesystem::path& path, const BatchResults& results);

/// Before long work: throws kInvalidArgument where `output` is one of the files the command reads,
/// kIo where it is a folder or its folder does not exist.
void check_output(const std::filesystem::path& output,
                  std::initializer_list<std::filesystem::path> inputs);

}  // namespace halo::cli
