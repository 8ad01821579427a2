// What a prepared refinement model is, in facts and in sentences. Thread-safety: free functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "halo/gnn/fusion.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/cli/text.h"

namespace halo::cli {

nlohmann::ordered_json model_facts(const gnn::RefinementModel& model);
/// What was chosen and why, a fact a line.
void describe_model(const gnn::RefinementModel& model, Facts& lines);

/// What has changed since the heads were chosen, and whether that advises a full refine.
nlohmann::ordered_json change_facts(const gnn::RefinementModel& model);
std::string change_text(const gnn::RefinementModel& model);

/// Weights by the names of their terms.
nlohmann::ordered_json fusion_facts(const gnn::Fusion& fusion);
std::string fusion_text(const gnn::Fusion& fusion);

}  // namespace halo::cli
