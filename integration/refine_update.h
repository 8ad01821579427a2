// What becomes of a refinement model when its index changes: the heads stay as they are, and only
// the neighbourhood of what was added, replaced or removed is computed again.
//
// carry_refinement() brings a model to the changed index at once: rows that the change does not
// touch are copied, the others are marked dirty. Until recompute_dirty(), dirty rows that were
// there before serve with what they had, and new ones are judged by their raw vectors.
//
// Dirty are: new rows, the rows in a new row's wide window, and rows that lost a neighbour or a
// node of their walk. Rows further off, whose walks only pass through dirty ones, are left as they
// are; a full prepare_refinement() computes everything, heads included, from scratch.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <memory>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// The model of `from` brought to `to`, which holds other vectors under some ids, more or fewer of
/// them. Vectors are known by their ids; one that differs is new. Counts what changed and measures
/// how far the vectors' mean has drifted from the heads'. O(to d + new walks). Throws
/// kModelMismatch where the model is not of `from`, or `to` has another dimension or metric.
std::shared_ptr<const gnn::RefinementModel> carry_refinement(const gnn::RefinementModel& model,
                                                             const GraphSnapshot& from,
                                                             const GraphSnapshot& to,
                                                             const Executor& executor,
                                                             const Job& job = {});

/// The same model with every dirty row as prepare_refinement() with these heads would have it: its
/// windows, states, walks and edges. Looks as far along the graph as walks go; where that reaches
/// most of the index, every row is computed again. Throws kModelMismatch for a model of another
/// size. O(what is reached), at most a prepare_refinement() without its choice of heads.
std::shared_ptr<const gnn::RefinementModel> recompute_dirty(const gnn::RefinementModel& model,
                                                            const GraphSnapshot& snapshot,
                                                            const Executor& executor,
                                                            const Job& job = {});

/// Vectors added, replaced and removed since the heads were chosen, as a share of those there are.
double changed_share(const gnn::RefinementParts& parts);
/// Whether the heads no longer fit: more than a fifth of the vectors changed, or their mean moved
/// by more than a tenth of their spread. prepare_refinement() chooses anew.
bool full_refine_advised(const gnn::RefinementParts& parts);

}  // namespace halo
