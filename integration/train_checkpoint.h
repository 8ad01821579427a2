// Training's checkpoint: the state of every loop that was begun, in one safetensors file, so that a
// run which was stopped goes on to the bytes of one that was not.
//
//   <stage>/parameters.<p>, <stage>/kept.<p>, <stage>/moments.<m>   F32
//   metadata   format = "halo.training.1", run = a hash of data and options; for each stage
//              "<stage>" = JSON: step, best_step, checks_without_gain, best, done, losses
//
// Thread-safety: belongs to the thread that trains.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "halo/gnn/train/training_loop.h"

namespace halo {

class TrainCheckpoint {
 public:
  /// Nothing is written to an empty path. With `resume` goes on from the file, where there is one.
  /// Throws kModelMismatch where it belongs to a run of other data or options (another `run`), and
  /// what reading it throws.
  TrainCheckpoint(std::filesystem::path path, bool resume, std::uint64_t run);

  /// For the loop of `stage`: where it stood, and where its states go. Valid as long as this is.
  gnn::Checkpointing at(const std::string& stage);

 private:
  void read();
  void write() const;

  std::filesystem::path path_;
  std::uint64_t run_;
  std::map<std::string, gnn::LoopState> stages_;
};

}  // namespace halo
