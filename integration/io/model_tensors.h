// A learned model as a safetensors file, so that it can be read, or made, elsewhere.
//
//   projection.mean    [dim]         subtracted first
//   projection.weight  [rank, dim]   y = normalise(weight (x - mean))
//   scale              [1]           of the cosines, in a softmax over classes
//   class_centroids    [classes, rank]  where labels were learned from; not needed to read a model
//
// With a GNN over it, for every layer t = 0, 1, ...:
//   layers.<t>.w_q, .w_k, .w_v, .w_o  [rank, rank]   q = x w_q, ...; head h owns the columns
//                      h rank / heads ... of the first three and those rows of w_o
//   layers.<t>.gate    [heads, rank / heads]   x <- normalise(x + (local + tanh(gate) global) w_o),
//                      local and global the softmax attention, logits gnn_scale <q, k>, over the
//                      node's window and over the layer's global nodes
//
// Learned fusion weights are a file of their own:
//   fusion.weights     [terms]       in the order of gnn/fusion.h
//   metadata           format = "halo.fusion.1"; heads = their names, separated by commas
//
//   metadata           format = "halo.metric.1" (without a GNN) or "halo.gnn.1"; view; unit_input =
//                      "true" or "false" (vectors are scaled to unit length before the mean is
//                      subtracted: cosine and ip indexes). halo.gnn.1: gnn_heads, gnn_scale,
//                      gnn_window as decimal numbers; the layers are counted from the tensors
//
// Thread-safety: pure functions.
#pragma once

#include <filesystem>
#include <memory>

#include "halo/integration/io/file.h"
#include "halo/integration/train.h"

namespace halo::io {

/// Errors as write_safetensors.
void export_model(const std::filesystem::path& path, const gnn::TrainedModel& model,
                  const FileSystem& file_system = posix_file_system());

/// Errors as read_safetensors; kUnsupportedFormat for another format or a missing tensor, kCorrupt
/// for shapes that do not fit each other or values out of range, kModelMismatch for a model of
/// another dimension or kind of index than `snapshot`'s.
LearnedProjection import_model(const std::filesystem::path& path, const GraphSnapshot& snapshot,
                               const FileSystem& file_system = posix_file_system());

void export_fusion(const std::filesystem::path& path, const gnn::Fusion& fusion,
                   const FileSystem& file_system = posix_file_system());
/// Null for a file of another format; kCorrupt for weights that do not fit the heads or are out of
/// range. Other errors as read_safetensors.
std::shared_ptr<const gnn::Fusion> import_fusion(
    const std::filesystem::path& path, const FileSystem& file_system = posix_file_system());

}  // namespace halo::io
