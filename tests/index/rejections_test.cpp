// Random operations, good and bad ones mixed, against a model: what is bad is refused with its
// code, and the state's hash is afterwards what it was.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <set>

#include "halo/core/random.h"
#include "halo/index/exact_search.h"
#include "halo/index/live_index.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/range_search.h"
#include "halo/index/search_cursor.h"
#include "index/index_fixtures.h"
#include "index/live_fixtures.h"

namespace halo {
namespace {

using test::LiveModel;
using test::state_hash;

constexpr std::size_t kDim = 5;
constexpr Id kIds = 600;

// The code a statement is refused with.
template <class Statement>
ErrorCode refusal(Statement&& statement) {
  try {
    statement();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

// What may be wrong with vectors, and what it is answered with.
struct Fault {
  const char* name;
  ErrorCode code;
  std::function<void(Matrix&, std::vector<Id>&, Random&)> apply;
};

std::size_t some_row(const Matrix& vectors, Random& random) { return random.below(vectors.rows()); }

std::vector<Fault> faults_of(Metric metric) {
  const auto put = [](float value) {
    return [value](Matrix& vectors, std::vector<Id>&, Random& random) {
      vectors.row(some_row(vectors, random))[random.below(kDim)] = value;
    };
  };
  std::vector<Fault> faults = {
      {"NaN", ErrorCode::kNonFinite, put(std::numeric_limits<float>::quiet_NaN())},
      {"infinity", ErrorCode::kNonFinite, put(std::numeric_limits<float>::infinity())},
      {"-infinity", ErrorCode::kNonFinite, put(-std::numeric_limits<float>::infinity())},
      {"another dimension", ErrorCode::kDimensionMismatch,
       [](Matrix& vectors, std::vector<Id>&, Random& random) {
         vectors = test::random_matrix(vectors.rows(), random.below(2) == 0 ? kDim - 1 : kDim + 1,
                                       random());
       }},
      {"too few ids", ErrorCode::kInvalidArgument,
       [](Matrix&, std::vector<Id>& ids, Random&) { ids.pop_back(); }},
      {"too many ids", ErrorCode::kInvalidArgument,
       [](Matrix&, std::vector<Id>& ids, Random&) { ids.push_back(kIds - 1); }},
      {"a negative id", ErrorCode::kInvalidArgument,
       [](Matrix& vectors, std::vector<Id>& ids, Random& random) {
         ids[some_row(vectors, random)] = -1 - static_cast<Id>(random.below(5));
       }},
      {"an id twice", ErrorCode::kDuplicateId,
       [](Matrix&, std::vector<Id>& ids, Random&) { ids.back() = ids.front(); }},
  };
  if (metric == Metric::kCosine) {
    faults.push_back({"no length", ErrorCode::kZeroVector,
                      [](Matrix& vectors, std::vector<Id>&, Random& random) {
                        std::fill_n(vectors.row(some_row(vectors, random)), kDim, 0.0F);
                      }});
  } else {
    faults.push_back({"too long", ErrorCode::kNonFinite, put(3e19F)});
  }
  return faults;
}

class Rejections : public ::testing::TestWithParam<Metric> {
 protected:
  // `count` ids that do not live.
  std::vector<Id> new_ids(std::size_t count, const LiveModel& model) {
    std::set<Id> ids;
    while (ids.size() < count) {
      const auto id = static_cast<Id>(random_.below(kIds));
      if (!model.vectors().contains(id)) ids.insert(id);
    }
    return {ids.begin(), ids.end()};
  }
  std::vector<Id> living(std::size_t count, const LiveModel& model) {
    std::set<Id> ids;
    while (ids.size() < std::min(count, model.size())) {
      auto at = model.vectors().begin();
      std::advance(at, static_cast<std::ptrdiff_t>(random_.below(model.size())));
      ids.insert(at->first);
    }
    return {ids.begin(), ids.end()};
  }
  Matrix rows(std::size_t count) { return test::clustered_matrix(count, kDim, 4, 0.7F, random_()); }

  Random random_{static_cast<std::uint64_t>(GetParam())};
  const Executor executor_{2};
};

TEST_P(Rejections, OfALiveIndexAmongRandomOperations) {
  LiveIndex index(kDim, test::live_options(GetParam()));
  LiveModel model(GetParam(), kDim);
  const std::vector<Fault> faults = faults_of(GetParam());
  std::map<std::string, int> refused;
  const Matrix queries = test::clustered_matrix(4, kDim, 4, 0.7F, 9);
  const int steps = test::kThreadSanitizer ? 60 : 400;
  for (int step = 0; step < steps; ++step) {
    const std::size_t count = 2 + random_.below(8);
    Matrix vectors = rows(count);
    // A good operation.
    const auto dice = random_.below(10);
    if (dice < 5 && model.size() + count < 400) {
      const std::vector<Id> ids = new_ids(count, model);
      index.add(vectors, ids);
      model.put(vectors, ids);
    } else if (dice < 7 && model.size() >= count) {
      const std::vector<Id> ids = living(count, model);
      index.update(vectors, ids);
      model.put(vectors, ids);
    } else if (dice < 9) {
      const std::vector<Id> ids = living(count, model);
      index.remove(ids);
      model.remove(ids);
    } else {
      index.seal(executor_);
    }
    // And a bad one.
    const std::uint64_t before = state_hash(index, kIds);
    const Fault& fault = faults[random_.below(faults.size())];
    const bool update = random_.below(3) == 0 && model.size() > count;
    std::vector<Id> ids = update ? living(count, model) : new_ids(count, model);
    vectors = rows(count);
    fault.apply(vectors, ids, random_);
    const ErrorCode code =
        refusal([&] { update ? index.update(vectors, ids) : index.add(vectors, ids); });
    ASSERT_EQ(error_code_name(code), error_code_name(fault.code)) << fault.name;
    ++refused[fault.name];
    if (model.size() > 0) {
      vectors = rows(count);
      ids = new_ids(count, model);
      ASSERT_EQ(refusal([&] { index.update(vectors, ids); }), ErrorCode::kUnknownId);
      ASSERT_EQ(refusal([&] { index.remove(ids); }), ErrorCode::kUnknownId);
      ids[random_.below(count)] = living(1, model).front();
      ASSERT_EQ(refusal([&] { index.add(vectors, ids); }), ErrorCode::kDuplicateId);
    }
    ASSERT_EQ(state_hash(index, kIds), before) << fault.name;
    if (step % 20 == 0) {
      ASSERT_NO_FATAL_FAILURE(test::expect_same(index.view(), model, queries));
    }
  }
  EXPECT_EQ(refused.size(), faults.size()) << "every fault was tried";
}

TEST_P(Rejections, OfAVectorIndexAmongRandomOperations) {
  VectorIndex index(kDim, test::build_options(GetParam()));
  LiveModel model(GetParam(), kDim);
  const std::vector<Fault> faults = faults_of(GetParam());
  for (std::size_t step = 0; step < 4 * faults.size(); ++step) {
    const std::size_t count = 2 + random_.below(6);
    Matrix vectors = rows(count);
    std::vector<Id> ids = new_ids(count, model);
    index.add(vectors, ids, executor_);
    model.put(vectors, ids);
    const std::uint64_t before = state_hash(index);
    const Fault& fault = faults[step % faults.size()];
    vectors = rows(count);
    ids = new_ids(count, model);
    fault.apply(vectors, ids, random_);
    const auto code = refusal([&] { index.add(vectors, ids, executor_); });
    ASSERT_EQ(error_code_name(code), error_code_name(fault.code)) << fault.name;
    ids = new_ids(count, model);
    ids[0] = living(1, model).front();
    vectors = rows(count);
    ASSERT_EQ(refusal([&] { index.add(vectors, ids, executor_); }), ErrorCode::kDuplicateId);
    ASSERT_EQ(state_hash(index), before) << fault.name;
    ASSERT_EQ(index.size(), model.size());
  }
}

// Every way to ask, with everything that can be wrong about a question.
TEST_P(Rejections, OfQuestions) {
  const Matrix data = rows(80);
  const auto snapshot = test::snapshot_of(data, GetParam());
  LiveIndex live(snapshot, test::live_options());
  const LiveView view = live.view();
  SearchScratch scratch;
  LiveScratch live_scratch;
  std::vector<Neighbour> out(80);
  std::vector<LiveNeighbour> live_out(80);

  struct Question {
    std::vector<float> query;
    std::size_t k = 3, ef = 16;
    std::size_t room = 80;
    float radius = 1;
    Filter filter = {};
  };
  const std::vector<float> good(data.row(0), data.row(0) + kDim);
  std::vector<float> nan = good, infinite = good, longer = good;
  nan[2] = std::numeric_limits<float>::quiet_NaN();
  infinite[4] = -std::numeric_limits<float>::infinity();
  longer.push_back(1);
  const Filter short_filter =
      Filter::of_bits(std::make_shared<std::vector<std::uint64_t>>(1, ~0ULL));

  using Ask = std::function<void(const Question&)>;
  const auto options_of = [](const Question& q) { return SearchOptions{q.k, q.ef, q.filter}; };
  const auto row = [](const Question& q) { return MatrixView(q.query.data(), 1, q.query.size()); };
  const Ask walk = [&](const Question& q) {
    search(*snapshot, q.query, options_of(q), scratch, std::span(out).first(q.room));
  };
  const Ask scan = [&](const Question& q) {
    exact_search(*snapshot, q.query, options_of(q), std::span(out).first(q.room));
  };
  const Ask batch = [&](const Question& q) {
    search_batch(*snapshot, row(q), options_of(q), executor_);
  };
  const Ask scan_batch = [&](const Question& q) {
    exact_search_batch(*snapshot, row(q), options_of(q), executor_);
  };
  const Ask range = [&](const Question& q) {
    range_search(snapshot, q.query, {q.radius, q.ef, q.filter});
  };
  const Ask range_scan = [&](const Question& q) {
    exact_range_search(snapshot, q.query, {q.radius, q.ef, q.filter});
  };
  const Ask range_batch = [&](const Question& q) {
    range_search_batch(snapshot, row(q), {q.radius, q.ef, q.filter}, executor_);
  };
  const Ask page = [&](const Question& q) {
    SearchCursor(snapshot, q.query, options_of(q)).next(std::span(out).first(q.room));
  };
  const Ask live_walk = [&](const Question& q) {
    view.search(q.query, {q.k, q.ef, {}}, live_scratch, std::span(live_out).first(q.room));
  };
  const Ask live_scan = [&](const Question& q) {
    view.exact_search(q.query, {q.k, q.ef, {}}, live_scratch, std::span(live_out).first(q.room));
  };
  const Ask live_batch = [&](const Question& q) {
    view.search_batch(row(q), {q.k, q.ef, {}}, executor_);
  };
  const std::vector<Ask> all = {walk,        scan, batch,     scan_batch, range,     range_scan,
                                range_batch, page, live_walk, live_scan,  live_batch};
  const std::uint64_t before = state_hash(*snapshot), live_before = state_hash(live, 80);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Ask& ask = all[i];
    EXPECT_NO_THROW(ask({good})) << i;
    EXPECT_EQ(refusal([&] { ask({nan}); }), ErrorCode::kNonFinite) << i;
    EXPECT_EQ(refusal([&] { ask({infinite}); }), ErrorCode::kNonFinite) << i;
    EXPECT_EQ(refusal([&] { ask({longer}); }), ErrorCode::kDimensionMismatch) << i;
    EXPECT_EQ(refusal([&] { ask({{}}); }), ErrorCode::kDimensionMismatch) << i;
    if (GetParam() == Metric::kCosine) {
      EXPECT_EQ(refusal([&] { ask({std::vector<float>(kDim, 0.0F)}); }), ErrorCode::kZeroVector)
          << i;
    } else {
      EXPECT_EQ(refusal([&] { ask({std::vector<float>(kDim, 1e19F)}); }), ErrorCode::kNonFinite)
          << i;
    }
    EXPECT_NO_THROW(ask({good})) << i << ": also afterwards";
  }
  for (const Ask& ask : {walk, scan, batch, scan_batch}) {
    EXPECT_EQ(refusal([&] { ask({good, 0}); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(refusal([&] { ask({good, 81}); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(refusal([&] { ask({good, 3, 0}); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(refusal([&] {
                ask({good, 3, 16, 80, 1, short_filter});
              }),
              ErrorCode::kInvalidArgument);
  }
  for (const Ask& ask : {range, range_scan, range_batch}) {
    EXPECT_EQ(refusal([&] { ask({good, 3, 0}); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(refusal([&] { ask({good, 3, 16, 80, std::nanf("")}); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(refusal([&] {
                ask({good, 3, 16, 80, 1, short_filter});
              }),
              ErrorCode::kInvalidArgument);
  }
  for (const Ask& ask : {live_walk, live_scan, live_batch}) {
    EXPECT_EQ(refusal([&] { ask({good, 0}); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(refusal([&] { ask({good, 3, 0}); }), ErrorCode::kInvalidArgument);
  }
  for (const Ask& ask : {walk, scan, live_walk, live_scan}) {
    EXPECT_EQ(refusal([&] { ask({good, 3, 16, 2}); }), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(refusal([&] { page({good, 3, 16, 0}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal([&] { page({good, 3, 0}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal([&] { neighbour_window(*snapshot, 80, 3); }), ErrorCode::kUnknownId);
  EXPECT_EQ(refusal([&] { neighbour_windows(*snapshot, 0, executor_); }),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal([&] {
              Filter::of_ids(*snapshot, std::vector<Id>{7, 80});
            }),
            ErrorCode::kUnknownId);
  EXPECT_EQ(state_hash(*snapshot), before);
  EXPECT_EQ(state_hash(live, 80), live_before);
}

INSTANTIATE_TEST_SUITE_P(Metrics, Rejections, ::testing::ValuesIn(test::kMetrics),
                         [](const auto& test) { return std::string(metric_name(test.param)); });

}  // namespace
}  // namespace halo
