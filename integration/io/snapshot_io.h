// A graph snapshot as sections of a bundle.
//
// Sections (numbers: bundle.h; little endian):
//   snapshot.manifest     u32 version (1), u32 metric, u64 size, dim, M, ef_construction, seed,
//                         number of layers, entry point; then one u64 a layer: its links
//   snapshot.vectors      size rows of float32, each padded with zeros to a multiple of 64 bytes
//   snapshot.ids          size x int64            snapshot.levels   size x uint8
//   snapshot.row_offsets  the layers' row offsets (uint64), layer 0 first
//   snapshot.neighbours   the layers' neighbours (uint32), layer 0 first
//   snapshot.stored       u32 CodeKind, i32 offset: snapshot.vectors are of this kind instead, rows
//                         padded in the same way; int8 values stand for offset + value, the offset
//                         being 128 or 0. Absent: float32
//   snapshot.codes        u32 CodeKind that searches walk on; absent: float32
// The codes themselves are not stored: they are made anew from the vectors faster than they could
// be read and checked. The nodes of a layer are not stored: they are those whose level reaches it.
//
// Thread-safety: pure functions.
#pragma once

#include <memory>

#include "halo/index/graph_snapshot.h"
#include "halo/integration/io/bundle.h"

namespace halo::io {

/// Adds the sections above; `snapshot` must live until the bundle is written. Throws kNotPrepared
/// for a snapshot without vectors.
void write_snapshot(BundleWriter& bundle, const GraphSnapshot& snapshot);

/// Reads and checks a snapshot: kCorrupt where a section is missing, sizes contradict each other or
/// GraphSnapshot::create finds a broken invariant; kUnsupportedFormat for another manifest version.
/// No allocation exceeds a small multiple of the file's length. O(file).
std::shared_ptr<const GraphSnapshot> read_snapshot(const BundleReader& bundle);

/// The two halves of the above without the invariants: for tests and tools.
void write_snapshot_parts(BundleWriter& bundle, const SnapshotParts& parts);
SnapshotParts read_snapshot_parts(const BundleReader& bundle);

}  // namespace halo::io
