// Properties of every search, against brute force, on small indexes that RapidCheck makes up and
// shrinks: few dimensions, many equal values, vectors that come twice.
//
// Whatever the index was built with, results are live, allowed, once each, in order, at their own
// distance, and k where k are there. A walk as wide as the index sees everything its start leads
// to, so where every node leads to every other its answers must be brute force's too. (RapidCheck's
// assertions overload || and &&: hence the parentheses.)
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <set>

#include "halo/index/detail/bits.h"
#include "halo/index/exact_search.h"
#include "halo/index/live_index.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/node_order.h"
#include "halo/index/range_search.h"
#include "halo/index/search_cursor.h"
#include "index/index_fixtures.h"
#include "index/live_fixtures.h"

namespace halo {
namespace {

constexpr CodeKind kCodes[] = {CodeKind::kF32, CodeKind::kBf16, CodeKind::kInt8};

// Small values, mostly whole numbers, so that vectors and distances are equal now and then; never
// all zero, so that every metric takes them.
rc::Gen<std::vector<float>> vectors_of(std::size_t dim) {
  const auto value = rc::gen::weightedOneOf<float>(
      {{4, rc::gen::map(rc::gen::inRange(-4, 5), [](int x) { return static_cast<float>(x); })},
       {1, rc::gen::map(rc::gen::inRange(-1000, 1001),
                        [](int x) { return static_cast<float>(x) / 64.0F; })}});
  return rc::gen::map(
      rc::gen::container<std::vector<float>>(dim, value), [](std::vector<float> vector) {
        if (std::all_of(vector.begin(), vector.end(), [](float x) { return x == 0; })) {
          vector[0] = 1;
        }
        return vector;
      });
}

struct World {
  Metric metric = Metric::kL2;
  CodeKind codes = CodeKind::kF32;
  std::size_t dim = 1;
  std::vector<std::vector<float>> vectors;
  std::vector<float> query;
  std::vector<bool> allowed;  // one a vector
  std::size_t k = 1;
  bool connected = true;  // every node leads to every other: a walk wide enough finds everything
  std::shared_ptr<const GraphSnapshot> snapshot;

  std::size_t size() const { return vectors.size(); }
  // What lives under a filter of bits, or of a predicate: by id, which is the row.
  std::size_t allowed_count() const {
    return static_cast<std::size_t>(std::count(allowed.begin(), allowed.end(), true));
  }
  Filter filter(bool by_bits) const {
    const auto allows = [*this](Node node) {
      return allowed[static_cast<std::size_t>(snapshot->id(node))];
    };
    if (!by_bits) return Filter::of_predicate(allows);
    auto bits = std::make_shared<detail::Bits>(detail::words_for(size()), 0);
    for (Node node = 0; node < size(); ++node) {
      if (allows(node)) detail::set_bit(*bits, node);
    }
    return Filter::of_bits(bits);
  }
};

// All that users may pass, mostly the few links that make graphs go wrong.
rc::Gen<std::size_t> any_M() {
  return rc::gen::weightedOneOf<std::size_t>(
      {{3, rc::gen::inRange<std::size_t>(2, 9)}, {1, rc::gen::inRange<std::size_t>(9, 65)}});
}

// Whether links of layer 0 lead from every node to every other.
bool is_connected(const GraphSnapshot& snapshot) {
  for (Node start = 0; start < snapshot.size(); ++start) {
    std::vector<Node> reached{start};
    std::vector<bool> seen(snapshot.size(), false);
    seen[start] = true;
    for (std::size_t head = 0; head < reached.size(); ++head) {
      for (const Node next : snapshot.neighbours(reached[head], 0)) {
        if (!seen[next]) reached.push_back(next);
        seen[next] = true;
      }
    }
    if (reached.size() != snapshot.size()) return false;
  }
  return true;
}

World some_world() {
  World world;
  world.metric =
      *rc::gen::elementOf(std::vector<Metric>(std::begin(test::kMetrics), std::end(test::kMetrics)))
           .as("metric");
  world.codes =
      *rc::gen::elementOf(std::vector<CodeKind>(std::begin(kCodes), std::end(kCodes))).as("codes");
  world.dim = *rc::gen::inRange<std::size_t>(1, 20).as("dim");
  const auto n = *rc::gen::inRange<std::size_t>(1, 60).as("n");
  world.vectors =
      *rc::gen::container<std::vector<std::vector<float>>>(n, vectors_of(world.dim)).as("vectors");
  world.query = *vectors_of(world.dim).as("query");
  world.allowed = *rc::gen::container<std::vector<bool>>(n, rc::gen::arbitrary<bool>());
  world.k = *rc::gen::inRange<std::size_t>(1, n + 1).as("k");
  BuildOptions options = test::build_options(world.metric);
  options.M = *any_M().as("M");
  options.ef_construction = *rc::gen::inRange<std::size_t>(1, 80).as("ef_construction");
  options.codes = world.codes;
  options.seed = *rc::gen::inRange<std::uint64_t>(0, 1000).as("seed");
  world.snapshot = test::snapshot_of(test::rows_of(world.vectors, world.dim), options);
  world.connected = is_connected(*world.snapshot);
  return world;
}

bool near(double a, double b) { return std::fabs(a - b) <= 1e-4 * (1 + std::fabs(b)); }

// Ascending distances of the allowed vectors, by the formula in double.
std::vector<double> brute_force(const World& world, bool filtered) {
  std::vector<double> distances;
  for (std::size_t i = 0; i < world.size(); ++i) {
    if (!filtered || world.allowed[i]) {
      distances.push_back(test::plain_distance(world.metric, world.query, world.vectors[i]));
    }
  }
  std::sort(distances.begin(), distances.end());
  return distances;
}

// No node twice, each of its own distance, in order, none nearer than brute force has it.
void expect_well_formed(const World& world, std::span<const Neighbour> found,
                        const std::vector<double>& truth, bool filtered) {
  RC_ASSERT(found.size() <= truth.size());
  std::set<Node> nodes;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto row = static_cast<std::size_t>(world.snapshot->id(found[i].node));
    RC_ASSERT(nodes.insert(found[i].node).second);
    RC_ASSERT((!filtered || world.allowed[row]));
    RC_ASSERT(near(found[i].distance,
                   test::plain_distance(world.metric, world.query, world.vectors[row])));
    RC_ASSERT((found[i].distance >= truth[i] || near(found[i].distance, truth[i])));
    RC_ASSERT((i == 0 || found[i - 1].distance <= found[i].distance));
  }
}

// What brute force gives. Which of several at one distance come is free.
void expect_nearest(const World& world, std::span<const Neighbour> found,
                    const std::vector<double>& truth, bool filtered) {
  expect_well_formed(world, found, truth, filtered);
  for (std::size_t i = 0; i < found.size(); ++i) RC_ASSERT(near(found[i].distance, truth[i]));
}

// The same of a walk as wide as the index, where it can get everywhere.
void expect_walked(const World& world, std::span<const Neighbour> found,
                   const std::vector<double>& truth, bool filtered) {
  world.connected ? expect_nearest(world, found, truth, filtered)
                  : expect_well_formed(world, found, truth, filtered);
}

// The same worlds every time; RC_PARAMS="seed=... max_success=..." looks at others.
const int kSeeded = setenv("RC_PARAMS", "seed=6 max_success=150", 0);

// Runs a property on many worlds; a failure prints the shrunk one.
template <class Property>
void holds(const std::string& what, Property&& property) {
  ASSERT_EQ(kSeeded, 0);
  EXPECT_TRUE(rc::check(what, std::forward<Property>(property)));
}

TEST(SearchProperties, AWideSearchIsBruteForce) {
  holds("search at ef = n", [] {
    const World world = some_world();
    RC_CLASSIFY(world.connected, "connected");
    const auto truth = brute_force(world, false);
    SearchScratch scratch;
    std::vector<Neighbour> out(world.k);
    SearchOptions options{world.k, world.size(), {}};
    options.rescore = world.size();
    RC_ASSERT(search(*world.snapshot, world.query, options, scratch, out) == world.k);
    expect_walked(world, out, truth, false);
    RC_ASSERT(exact_search(*world.snapshot, world.query, options, out) == world.k);
    expect_nearest(world, out, truth, false);
    // On the vectors themselves no second look is needed.
    options.rescore = 0;
    options.exact_walk = true;
    RC_ASSERT(search(*world.snapshot, world.query, options, scratch, out) == world.k);
    expect_walked(world, out, truth, false);
  });
}

TEST(SearchProperties, ANarrowSearchGivesKInOrder) {
  holds("search at any ef", [] {
    const World world = some_world();
    SearchScratch scratch;
    std::vector<Neighbour> out(world.k);
    const SearchOptions options{world.k, *rc::gen::inRange<std::size_t>(1, 10), {}};
    RC_ASSERT(search(*world.snapshot, world.query, options, scratch, out) == world.k);
    expect_well_formed(world, out, brute_force(world, false), false);
  });
}

TEST(SearchProperties, AFilteredSearchIsBruteForceOverWhatIsAllowed) {
  holds("filtered search", [] {
    const World world = some_world();
    const bool by_bits = *rc::gen::arbitrary<bool>().as("bits, not a predicate");
    const auto truth = brute_force(world, true);
    SearchScratch scratch;
    std::vector<Neighbour> out(world.k);
    SearchOptions options{world.k, world.size(), world.filter(by_bits)};
    options.rescore = world.size();
    const std::size_t expected = std::min(world.k, truth.size());
    RC_ASSERT(search(*world.snapshot, world.query, options, scratch, out) == expected);
    expect_walked(world, std::span(out).first(expected), truth, true);
    RC_ASSERT(exact_search(*world.snapshot, world.query, options, out) == expected);
    expect_nearest(world, std::span(out).first(expected), truth, true);
    // However narrow: k results wherever k are allowed.
    options.ef = 1;
    RC_ASSERT(search(*world.snapshot, world.query, options, scratch, out) == expected);
    expect_well_formed(world, std::span(out).first(expected), truth, true);
  });
}

TEST(SearchProperties, ARangeHoldsWhatIsWithinAndNothingElse) {
  holds("range search", [] {
    const World world = some_world();
    const bool filtered = *rc::gen::arbitrary<bool>().as("filtered");
    const auto truth = brute_force(world, filtered);
    RangeOptions options;
    options.ef = world.size();
    if (filtered) options.filter = world.filter(*rc::gen::arbitrary<bool>());
    // Between two of the distances, or beyond all.
    const auto within = *rc::gen::inRange<std::size_t>(0, truth.size() + 1).as("within");
    double radius = 0;
    if (within == truth.size()) {
      radius = truth.empty() ? 1 : truth.back() + 1 + 1e-3 * std::fabs(truth.back());
    } else {
      radius = within == 0 ? truth[0] - 1 : (truth[within - 1] + truth[within]) / 2;
      RC_PRE((within == 0 || !near(truth[within - 1], truth[within])));
    }
    options.radius = static_cast<float>(radius);
    const auto found = range_search(world.snapshot, world.query, options);
    RC_ASSERT((world.connected ? found.size() == within : found.size() <= within));
    expect_walked(world, found, truth, filtered);
    const auto exact = exact_range_search(world.snapshot, world.query, options);
    RC_ASSERT(exact.size() == within);
    expect_nearest(world, exact, truth, filtered);
  });
}

TEST(SearchProperties, PagesHoldEveryAllowedVectorOnce) {
  holds("cursor", [] {
    const World world = some_world();
    const bool filtered = *rc::gen::arbitrary<bool>().as("filtered");
    SearchOptions options;
    options.ef = *rc::gen::inRange<std::size_t>(1, 2 * world.size() + 1).as("ef");
    if (filtered) options.filter = world.filter(*rc::gen::arbitrary<bool>());
    const auto truth = brute_force(world, filtered);
    SearchCursor cursor(world.snapshot, world.query, options);
    std::vector<Neighbour> all;
    for (;;) {
      std::vector<Neighbour> page(*rc::gen::inRange<std::size_t>(1, 20).as("page"));
      const std::size_t found = cursor.next(page);
      RC_ASSERT(found <= page.size());
      RC_ASSERT((found == page.size() || all.size() + found == truth.size()));
      if (found == 0) break;
      all.insert(all.end(), page.begin(), page.begin() + static_cast<std::ptrdiff_t>(found));
    }
    RC_ASSERT(all.size() == truth.size());
    RC_ASSERT(cursor.returned() == truth.size());
    std::sort(all.begin(), all.end(), [](const Neighbour& a, const Neighbour& b) {
      return std::pair(a.distance, a.node) < std::pair(b.distance, b.node);
    });
    expect_nearest(world, all, truth, filtered);
  });
}

TEST(SearchProperties, WindowsAreClosedAndWideOnesHoldEverything) {
  holds("windows", [] {
    const World world = some_world();
    const auto window = *rc::gen::inRange<std::size_t>(1, 80).as("window");
    const GraphSnapshot& snapshot = *world.snapshot;
    const CsrMask windows = neighbour_windows(snapshot, window, Executor(1));
    const auto distance = [&](Node a, Node b) {
      const Metric metric = world.metric == Metric::kCosine ? Metric::kInnerProduct : world.metric;
      return test::plain_distance(metric, snapshot.vector(a), snapshot.vector(b));
    };
    for (Node node = 0; node < snapshot.size(); ++node) {
      const auto row = windows.row(node);
      RC_ASSERT(
          std::equal(row.begin(), row.end(), neighbour_window(snapshot, node, window).begin()));
      RC_ASSERT(row.size() <= window);
      RC_ASSERT(!windows.contains(node, node));
      double farthest = -1e30;
      for (const Node member : row) farthest = std::max(farthest, distance(node, member));
      for (const Node member : row) {
        for (const Node next : snapshot.neighbours(member, 0)) {
          RC_ASSERT((next == node || windows.contains(node, next) ||
                     (row.size() == window && distance(node, next) >= farthest - 1e-3)));
        }
      }
    }
  });
}

TEST(SearchProperties, AnOrderOfNodesIsAPermutation) {
  holds("node order", [] {
    const auto n = *rc::gen::inRange<std::uint32_t>(1, 40).as("n");
    const auto node = rc::gen::inRange<std::uint32_t>(0, n);
    const auto pairs = *rc::gen::container<std::vector<std::pair<std::uint32_t, std::uint32_t>>>(
                            rc::gen::pair(node, node))
                            .as("links");
    auto order = reverse_cuthill_mckee(CsrMask::from_pairs(n, n, pairs));
    std::sort(order.begin(), order.end());
    std::vector<std::uint32_t> identity(n);
    std::iota(identity.begin(), identity.end(), 0U);
    RC_ASSERT(order == identity);
  });
}

// Sealing renumbers nodes; what is stored under an id stays, and everything can be reached.
TEST(SearchProperties, ASealedIndexHoldsWhatWasAddedAndReachesIt) {
  holds("seal", [] {
    const World world = some_world();
    const GraphSnapshot& snapshot = *world.snapshot;
    RC_ASSERT(snapshot.size() == world.size());
    RC_ASSERT(snapshot.unreachable_count() == 0U);
    for (std::size_t i = 0; i < world.size(); ++i) {
      const auto node = snapshot.find(static_cast<Id>(i));
      RC_ASSERT(node.has_value());
      if (world.metric == Metric::kCosine) continue;
      RC_ASSERT(std::equal(world.vectors[i].begin(), world.vectors[i].end(),
                           snapshot.vector(*node).begin()));
    }
    // Also once it was taken up again.
    const Executor executor(1);
    const auto again = VectorIndex::resume(snapshot, executor, true).seal(executor);
    RC_ASSERT(again->unreachable_count() == 0U);
    RC_ASSERT(again->codes().kind() == world.codes);
  });
}

// Any sequence of writes leaves what a map would hold, sealed now and then, searched exactly and by
// a walk as wide as the index.
TEST(SearchProperties, ALiveIndexIsAMap) {
  holds("live index", [] {
    const Metric metric = *rc::gen::elementOf(std::vector<Metric>(std::begin(test::kMetrics),
                                                                  std::end(test::kMetrics)))
                               .as("metric");
    const auto dim = *rc::gen::inRange<std::size_t>(1, 6).as("dim");
    LiveOptions options = test::live_options(metric);
    options.build.codes =
        *rc::gen::elementOf(std::vector<CodeKind>(std::begin(kCodes), std::end(kCodes)))
             .as("codes");
    options.build.M = *any_M().as("M");
    options.build.ef_construction = *rc::gen::inRange<std::size_t>(1, 80).as("ef_construction");
    options.delta_ef_construction = *rc::gen::inRange<std::size_t>(1, 80).as("delta");
    options.scanned_tail = *rc::gen::inRange<std::size_t>(0, 12).as("tail");
    LiveIndex index(dim, options);
    test::LiveModel model(metric, dim);
    const Executor executor(1);
    const auto steps = *rc::gen::container<std::vector<std::pair<int, Id>>>(
                            rc::gen::pair(rc::gen::inRange(0, 12), rc::gen::inRange<Id>(0, 40)))
                            .as("steps");
    for (const auto& [what, id] : steps) {
      const std::vector<Id> ids{id};
      const bool lives = model.vectors().contains(id);
      if (what == 0) {
        const auto sealed = index.seal(executor);
        RC_ASSERT((sealed == nullptr) == (model.size() == 0));
        RC_ASSERT((!sealed || sealed->unreachable_count() == 0));
      } else if (what < 4 && lives) {
        index.remove(ids);
        model.remove(ids);
      } else {
        const Matrix row = test::rows_of({*vectors_of(dim)}, dim);
        lives ? index.update(row, ids) : index.add(row, ids);
        model.put(row, ids);
      }
      RC_ASSERT(index.size() == model.size());
    }
    const auto query = *vectors_of(dim).as("query");
    const LiveView view = index.view();
    const auto truth = model.nearest(query, model.size());
    for (const bool exact : {true, false}) {
      if (truth.empty()) break;
      LiveSearchOptions all;
      all.k = truth.size();
      all.ef = 64;
      const auto found = test::live_search(view, query, all, exact);
      RC_ASSERT(found.size() == truth.size());
      std::set<Id> ids;
      for (std::size_t i = 0; i < found.size(); ++i) {
        RC_ASSERT(near(found[i].distance, truth[i].distance));
        RC_ASSERT(model.vectors().contains(found[i].id));
        ids.insert(found[i].id);
      }
      RC_ASSERT(ids.size() == truth.size());
    }
  });
}

}  // namespace
}  // namespace halo
