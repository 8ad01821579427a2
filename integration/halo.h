// Everything a service needs, in one header: "halo/halo.h".
#pragma once

#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/core/version.h"
#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/live_index.h"
#include "halo/index/range_search.h"
#include "halo/index/search_cursor.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_index.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"
#include "halo/integration/train.h"
