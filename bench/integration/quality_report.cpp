#include "quality_report.h"

#include <algorithm>
#include <array>

#include "halo/integration/cli/text.h"

namespace halo::bench {
namespace {

constexpr std::uint64_t kBootstrapSeed = 1;
constexpr std::array<Measure, 4> kColumns = {Measure::kMap100, Measure::kP1, Measure::kP10,
                                             Measure::kNdcg10};

struct Average {
  std::string name;
  bool baseline = false;
  std::array<double, kColumns.size()> means{};
};

std::vector<Average> averages(const std::vector<SetResult>& sets) {
  std::vector<Average> all;
  for (const MethodResult& method : sets.front().methods) {
    all.push_back({method.name, method.baseline, {}});
  }
  for (const SetResult& set : sets) {
    for (std::size_t m = 0; m < all.size(); ++m) {
      for (std::size_t c = 0; c < kColumns.size(); ++c) {
        all[m].means[c] +=
            set.methods[m].quality.mean(kColumns[c]) / static_cast<double>(sets.size());
      }
    }
  }
  return all;
}

/// The baseline of the highest average mAP@100.
const Average& best_baseline(const std::vector<Average>& all) {
  return *std::max_element(all.begin(), all.end(), [](const Average& a, const Average& b) {
    return a.baseline != b.baseline ? b.baseline : a.means[0] < b.means[0];
  });
}

double lead_of_auto(const std::vector<Average>& all) {
  return all[1].means[0] - best_baseline(all).means[0];
}

std::string one_decimal(double share) { return cli::fixed(100 * share, 1); }
std::string with_sign(double share) {
  const std::string text = one_decimal(share);
  return text.front() == '-' ? text : "+" + text;
}

Interval difference(const SetResult& set, const MethodResult& method, Measure measure) {
  return paired_bootstrap(set.methods.front().quality.of(measure), method.quality.of(measure),
                          kBootstrapSeed);
}

void print_set(const SetResult& set, std::ostream& out) {
  std::vector<std::string> header = {set.name};
  for (const Measure measure : kColumns) {
    header.emplace_back(measure_name(measure));
    header.emplace_back("- plain");
  }
  cli::Table table(header);
  for (const MethodResult& method : set.methods) {
    std::vector<std::string> row = {method.name};
    for (const Measure measure : kColumns) {
      row.push_back(one_decimal(method.quality.mean(measure)));
      const Interval d = difference(set, method, measure);
      row.push_back(&method == &set.methods.front()
                        ? ""
                        : with_sign(d.mean) + " [" + one_decimal(d.low) + ", " +
                              one_decimal(d.high) + "]");
    }
    table.add(row);
  }
  out << cli::with_commas(set.vectors) << " vectors, " << cli::with_commas(set.queries)
      << " queries; gate " << cli::fixed(set.gate, 2) << "\n";
  table.print(out);
  out << "\n";
}

}  // namespace

void print_tables(const std::vector<SetResult>& sets, std::ostream& out) {
  for (const SetResult& set : sets) print_set(set, out);
  const std::vector<Average> all = averages(sets);
  std::vector<std::string> header = {"average"};
  for (const Measure measure : kColumns) {
    header.emplace_back(measure_name(measure));
    header.emplace_back("- plain");
  }
  cli::Table table(header);
  for (const Average& average : all) {
    std::vector<std::string> row = {average.name};
    for (std::size_t c = 0; c < kColumns.size(); ++c) {
      row.push_back(one_decimal(average.means[c]));
      row.push_back(with_sign(average.means[c] - all.front().means[c]));
    }
    table.add(row);
  }
  table.print(out);
  if (!all.back().baseline) return;
  out << "\nmAP@100, average over " << sets.size() << " sets: auto leads the best baseline ("
      << best_baseline(all).name << ") by " << with_sign(lead_of_auto(all)) << " points.\n";
}

nlohmann::ordered_json facts_of(const std::vector<SetResult>& sets) {
  nlohmann::ordered_json facts;
  for (const SetResult& set : sets) {
    nlohmann::ordered_json methods;
    for (const MethodResult& method : set.methods) {
      nlohmann::ordered_json entry = {{"method", method.name}, {"baseline", method.baseline}};
      for (const Measure measure : kColumns) {
        const Interval d = difference(set, method, measure);
        const std::string name(measure_name(measure));
        entry[name] = method.quality.mean(measure);
        entry["d " + name] = {{"mean", d.mean}, {"low", d.low}, {"high", d.high}};
      }
      methods.push_back(entry);
    }
    facts["sets"].push_back({{"name", set.name},
                             {"vectors", set.vectors},
                             {"queries", set.queries},
                             {"judged_queries", set.methods.front().quality.queries.size()},
                             {"gate", set.gate},
                             {"methods", methods}});
  }
  const std::vector<Average> all = averages(sets);
  for (const Average& average : all) {
    nlohmann::ordered_json entry = {{"method", average.name}, {"baseline", average.baseline}};
    for (std::size_t c = 0; c < kColumns.size(); ++c) {
      entry[std::string(measure_name(kColumns[c]))] = average.means[c];
    }
    facts["average"].push_back(entry);
  }
  if (!all.back().baseline) return facts;
  facts["best_baseline"] = best_baseline(all).name;
  facts["auto_lead"] = lead_of_auto(all);
  return facts;
}

}  // namespace halo::bench
