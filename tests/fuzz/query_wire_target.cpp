// What clients send to the service: a body in JSON is a typed error or a request within its bounds,
// and whatever is asked of a small collection gets an answer that is JSON and no failure of ours.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "fuzz/targets.h"
#include "halo/core/random.h"
#include "halo/integration/service/api.h"
#include "halo/integration/service/api_requests.h"

namespace halo::fuzz {
namespace {

using namespace halo::service;  // NOLINT(google-build-using-namespace)
using nlohmann::json;

constexpr std::size_t kItems = 40, kDim = 4;
constexpr const char* kPath = "/collections/c/";

/// A service with one collection, which no input changes; its folder goes with the process.
class SmallService {
 public:
  SmallService() : catalog_(folder_.path), api_(catalog_, {}) {
    api_.set_ready(true);
    check(call("PUT", "/collections/c", R"({"dim": 4, "metric": "l2"})").status == 201, "create");
    json items = json::array();
    for (std::size_t i = 0; i < kItems; ++i) {
      Random random(3, i);
      json vector = json::array();
      for (std::size_t d = 0; d < kDim; ++d) vector.push_back(random.normal());
      const json metadata = {{"kind", i % 2 == 0 ? "boot" : "shoe"}, {"price", i}, {"new", i > 9}};
      items.push_back({{"id", i}, {"vector", vector}, {"metadata", metadata}});
    }
    check(call("POST", "/collections/c/items", json{{"items", items}}.dump()).status == 200,
          "fill");
  }
  ApiResponse call(const std::string& method, const std::string& path, const std::string& body = {},
                   std::map<std::string, std::string, std::less<>> query = {}) {
    ApiRequest request;
    request.method = method;
    request.path = path;
    request.query = std::move(query);
    request.body = body;
    return api_.handle(request);
  }

 private:
  struct Folder {
    std::string path = std::filesystem::temp_directory_path() / "halo-fuzz-XXXXXX";
    Folder() { check(mkdtemp(path.data()) != nullptr, "no temporary folder"); }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  Folder folder_;
  Catalog catalog_;
  Api api_;
};

SmallService& small_service() {
  static SmallService service;
  return service;
}

/// The answer's JSON: of a refusal, one that says what is wrong.
json checked(const ApiResponse& response) {
  if (response.status >= 500) std::fprintf(stderr, "%s\n", response.body.c_str());
  check(response.status < 500, "a request made the service fail");
  json answer = json::parse(response.body, nullptr, false);
  check(answer.is_object(), "the answer is no JSON");
  if (response.status != 200) {
    check(!answer.at("error").at("code").get<std::string>().empty() &&
              !answer.at("error").at("message").get<std::string>().empty(),
          "a refusal that says nothing");
  }
  return answer;
}

void check_results(const json& results, const QueryOptions& asked) {
  check(results.size() <= asked.k, "more results than were asked for");
  double last = -INFINITY;
  for (const json& hit : results) {
    check(hit.at("id").get<std::size_t>() < kItems, "a result that is not there");
    // Distances of plain search, the nearest first; scores of refinement, the best first.
    const double score = hit.at("score").get<double>();
    const double worse = asked.refine == RefineMode::kOff ? score : -score;
    check(worse >= last, "results out of order");
    last = worse;
  }
}

void search(const std::string& body) {
  const ApiResponse response = small_service().call("POST", std::string(kPath) + "search", body);
  const json answer = checked(response);
  if (response.status != 200) return;
  const SearchRequest asked = read_search(body, kDim);
  if (asked.single) {
    check_results(answer.at("results"), asked.options);
  } else {
    check(answer.at("queries").size() == asked.queries.rows(), "an answer for each query");
    for (const json& one : answer.at("queries")) check_results(one.at("results"), asked.options);
  }
}

/// A path below the collection, maybe with a query string, read and not written.
void get(const std::string& text) {
  const std::size_t mark = std::min(text.find('?'), text.size());
  std::map<std::string, std::string, std::less<>> query;
  if (mark < text.size()) {
    const std::size_t equals = std::min(text.find('=', mark), text.size());
    query[text.substr(mark + 1, equals - mark - 1)] =
        equals < text.size() ? text.substr(equals + 1) : "";
  }
  checked(small_service().call("GET", kPath + text.substr(0, mark), {}, std::move(query)));
}

/// True where the body was read; false where it was refused as a body may be.
template <class Read>
bool reads(Read&& read) {
  try {
    std::forward<Read>(read)();
    return true;
  } catch (const Error& error) {
    const ErrorCode code = error.code();
    check(code == ErrorCode::kInvalidArgument || code == ErrorCode::kDimensionMismatch,
          "an error that no body may cause");
    return false;
  }
}

void items(const std::string& body) {
  reads([&] {
    for (const ItemWrite& item : read_items(body)) {
      check(item.id >= 0, "an id below 0");
      check(!item.vector.empty() || item.metadata.has_value(), "an item of nothing");
    }
  });
}

void other_bodies(const std::string& body) {
  reads([&] {
    for (const Id id : read_ids(body)) check(id >= 0, "an id below 0");
  });
  reads([&] {
    const CollectionOptions options = read_collection(body);
    check(options.dim >= 1 && options.dim <= 65'536, "a dimension out of range");
    options.build.validate();
  });
  reads([&] {
    const RefineRequest request = read_refine(body, kDim);
    check(request.sample_queries.empty() || request.sample_queries.cols() == kDim, "samples");
    request.options.validate();
  });
  reads([&] {
    const TrainRequest request = read_train(body, kDim);
    request.options.validate();
    for (const io::Judgement& judgement : request.judgements) {
      check(judgement.query < request.queries.rows() && judgement.id >= 0,
            "a judgement out of range");
    }
  });
}

}  // namespace

void fuzz_query_wire(Input input) {
  ByteTaker taker(input);
  const std::size_t kind = taker.below(4);
  const Input rest = taker.bytes(input.size());
  const std::string text(reinterpret_cast<const char*>(rest.data()), rest.size());
  constexpr void (*kKinds[])(const std::string&) = {search, get, items, other_bodies};
  kKinds[kind](text);
}

}  // namespace halo::fuzz
