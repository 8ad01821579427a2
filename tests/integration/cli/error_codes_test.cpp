// Every error code can be met, by the library's entry or the command that the table names; a new
// code needs a line here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>

#include "halo/core/random.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/live_index.h"
#include "halo/index/memory_estimate.h"
#include "halo/integration/engine.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

class ErrorCodes : public CliTest {
 protected:
  // By the command: the name that standard error begins with.
  ErrorCode code_of(const Outcome& outcome) const {
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    for (int code = 1; code <= kErrorCodes; ++code) {
      const auto name = std::string(error_code_name(static_cast<ErrorCode>(code)));
      if (outcome.err.find("halo: " + name + ": ") != std::string::npos) {
        return static_cast<ErrorCode>(code);
      }
    }
    return ErrorCode::kInternal;
  }
  static ErrorCode code_of(const std::function<void()>& statement) {
    try {
      statement();
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
      return error.code();
    }
    return ErrorCode::kInternal;
  }

  Engine engine() const { return Engine::build(vectors_, {}, {}, executor_); }

  const Executor executor_{1};
};

TEST_F(ErrorCodes, EachIsMet) {
  const std::string index = build_index();
  VectorIndex empty(kDim, {});
  VectorIndex cosine(kDim, {.metric = Metric::kCosine});
  Matrix bad = Matrix::copy_of(vectors_);
  bad.row(3)[1] = std::numeric_limits<float>::quiet_NaN();
  std::stop_source stop;
  stop.request_stop();
  const Job stopped{nullptr, stop.get_token()};
  write_text(path("text"), "not an index");
  write_text(path("cut"), read_text(index).substr(0, read_text(index).size() / 2));
  // Judgements that say nothing about the vectors.
  std::string lines;
  Random random(3);
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (int i = 0; i < 5; ++i) {
      lines += std::to_string(q) + " 0 " + std::to_string(random.below(kRows)) + " 1\n";
    }
  }
  write_text(path("meaningless.qrels"), lines);

  const std::map<ErrorCode, std::function<ErrorCode()>> met = {
      {ErrorCode::kInvalidArgument, [&] { return code_of([] { VectorIndex(0, {}); }); }},
      {ErrorCode::kDimensionMismatch,
       [&] { return code_of([&] { empty.add(Matrix(1, kDim + 1), executor_); }); }},
      {ErrorCode::kNonFinite, [&] { return code_of([&] { empty.add(bad, executor_); }); }},
      {ErrorCode::kZeroVector,
       [&] { return code_of([&] { cosine.add(Matrix(1, kDim), executor_); }); }},
      {ErrorCode::kEmpty, [&] { return code_of([&] { empty.seal(executor_); }); }},
      {ErrorCode::kUnknownId,
       [&] { return code_of([&] { LiveIndex(kDim, {}).remove(std::vector<Id>{4}); }); }},
      {ErrorCode::kDuplicateId,
       [&] {
         const std::vector<Id> twice{1, 1};
         return code_of([&] { empty.add(vectors_.view().sub_rows(0, 2), twice, executor_); });
       }},
      {ErrorCode::kIo, [&] { return code_of([&] { Engine::load(path("")); }); }},
      {ErrorCode::kNoSpace,
       [&] {
         ProcessOptions full;
         full.file_size_limit = 8192;
         return code_of(halo({"build", "--vectors", path("vectors.npy"), "--metric", "l2", "--out",
                              path("out"), "--quiet"},
                             full));
       }},
      {ErrorCode::kCorrupt, [&] { return code_of([&] { Engine::load(path("cut")); }); }},
      {ErrorCode::kUnsupportedFormat, [&] { return code_of([&] { Engine::load(path("text")); }); }},
      {ErrorCode::kNotPrepared,
       [&] {
         QueryOptions options;
         options.refine = RefineMode::kAuto;
         return code_of([&] { engine().search(queries_, options, executor_); });
       }},
      {ErrorCode::kModelMismatch,
       [&] {
         const Engine other = Engine::build(vectors_.view().sub_rows(0, 200), {}, {}, executor_);
         return code_of([&] {
           Engine(engine().snapshot(), other.refined(gnn::RefineOptions(), executor_).model());
         });
       }},
      {ErrorCode::kCancelled,
       [&] { return code_of([&] { empty.add(vectors_, executor_, stopped); }); }},
      {ErrorCode::kOutOfMemory,
       [&] {
         return code_of(
             [] { estimate_memory(std::numeric_limits<std::size_t>::max() / 2, 784, {}); });
       }},
      {ErrorCode::kNotFound, [&] { return code_of([&] { Engine::load(path("nowhere")); }); }},
      {ErrorCode::kNoGain,
       [&] {
         return code_of(halo({"train", "--index", index, "--queries", path("queries.npy"),
                              "--qrels", path("meaningless.qrels"), "--quiet"}));
       }},
      {ErrorCode::kMemoryLimit,
       [&] {
         VectorIndex limited(kDim, {.memory_limit = 1000});
         return code_of([&] { limited.add(vectors_, executor_); });
       }},
  };
  for (int number = 1; number <= kErrorCodes; ++number) {
    const auto code = static_cast<ErrorCode>(number);
    // A broken invariant of halo itself: nobody knows how to break one.
    if (code == ErrorCode::kInternal) continue;
    const auto at = met.find(code);
    ASSERT_NE(at, met.end()) << "nothing meets " << error_code_name(code);
    EXPECT_EQ(error_code_name(at->second()), error_code_name(code));
  }
  EXPECT_EQ(empty.size(), 0U);
  EXPECT_EQ(cosine.size(), 0U);
}

}  // namespace
}  // namespace halo::cli
