// `halo serve` as a process of its own: what it acknowledged survives whatever ends it.
//
// HALO_CRASH_ROUNDS sets how often it is ended (2 of each kind; scripts/crash_loop: 50).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "halo/index/graph_snapshot.h"
#include "integration/service/http_client.h"
#include "support/test_support.h"

namespace halo::service {
namespace {

using nlohmann::json;

constexpr std::size_t kDim = 8;

class Process {
 public:
  explicit Process(std::vector<std::string> arguments,
                   const std::string& error_file = "/dev/null") {
    arguments.insert(arguments.begin(), HALO_TOOL);
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    process_ = fork();
    if (process_ == 0) {
      const int errors = open(error_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(ends[1], STDOUT_FILENO);
      dup2(errors, STDERR_FILENO);
      execv(pointers[0], pointers.data());
      _exit(127);
    }
    close(ends[1]);
    char c = 0;
    while (read(ends[0], &c, 1) == 1 && c != '\n') first_line_ += c;
    close(ends[0]);
  }
  ~Process() {
    if (process_ > 0) end(SIGKILL);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  const std::string& first_line() const { return first_line_; }
  int port() const { return json::parse(first_line_)["port"]; }
  /// Exit code, or 128 + the signal that ended it.
  int end(int signal) {
    kill(process_, signal);
    return wait();
  }
  int wait() {
    int status = 0;
    waitpid(process_, &status, 0);
    process_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t process_ = -1;
  std::string first_line_;
};

Process serve(const test::TemporaryFolder& folder) {
  return Process({"serve", "--data", (folder / "data").string(), "--port", "0", "--json", "--quiet",
                  "--threads", "2"},
                 (folder / "errors").string());
}

// What a writer was told, and what it was about to be told when the connection broke.
struct Told {
  std::map<Id, int> versions;  // of ids that live
  std::set<Id> unsure;         // of the write in flight
};

// The vector of an id's version, which can be told from its first two numbers.
json vector_of(Id id, int version) {
  json vector = json::array();
  for (std::size_t d = 0; d < kDim; ++d) vector.push_back(0.25 * static_cast<double>(d));
  vector[0] = id;
  vector[1] = version;
  return vector;
}

// Writes until the connection breaks: ids of its own, first + 0, 1, 2, ...
// Returns how many writes were acknowledged.
std::size_t write_until_it_breaks(int port, Id first, int& version, Told& told) {
  HttpClient client(port);
  std::size_t acknowledged = 0;
  for (Id n = 0;; ++n, ++acknowledged) {
    told.unsure.clear();
    ++version;
    HttpAnswer answer;
    if (n % 7 == 6 && !told.versions.empty()) {
      const Id gone = told.versions.begin()->first;
      told.unsure = {gone};
      answer = client.post("/collections/c/items/delete", {{"ids", json::array({gone})}});
      if (answer.status != 200) return acknowledged;
      told.versions.erase(gone);
    } else {
      json items = json::array();
      for (Id i = 0; i < 3; ++i) {
        const Id id = first + (n * 2 + i) % 400;
        told.unsure.insert(id);
        items.push_back(
            {{"id", id}, {"vector", vector_of(id, version)}, {"metadata", {{"version", version}}}});
      }
      answer = client.post("/collections/c/items", {{"items", items}});
      if (answer.status != 200) return acknowledged;
      for (const Id id : told.unsure) told.versions[id] = version;
    }
  }
}

void check(int port, Id first, Told& told) {
  std::optional<HttpClient> client(port);
  for (Id id = first; id < first + 400; ++id) {
    const std::string path = "/collections/c/items/" + std::to_string(id) + "?vector=1";
    HttpAnswer answer = client->get(path);
    for (int again = 0; answer.status == 0 && again < 3; ++again) {
      // A machine that stood still for seconds: the service ended the connection.
      answer = client.emplace(port).get(path);
    }
    ASSERT_TRUE(answer.status == 200 || answer.status == 404) << answer.status << answer.body;
    std::optional<int> there;
    if (answer.status == 200) {
      const json item = answer.json();
      there = item["vector"][1].get<int>();
      EXPECT_EQ(item["metadata"]["version"], *there) << "vector and metadata of different writes";
      EXPECT_EQ(item["vector"][0], id);
    }
    const auto known = told.versions.find(id);
    if (told.unsure.count(id) != 0) {  // either way is right: from here on it is known
      if (there) {
        told.versions[id] = *there;
      } else {
        told.versions.erase(id);
      }
    } else if (known == told.versions.end()) {
      EXPECT_FALSE(there) << "item " << id << " was removed, and is back";
    } else {
      ASSERT_TRUE(there) << "item " << id << " was acknowledged, and is lost";
      EXPECT_EQ(*there, known->second) << "item " << id;
    }
  }
}

int rounds() {
  const char* given = std::getenv("HALO_CRASH_ROUNDS");
  return given == nullptr ? 2 : std::atoi(given);
}

void survive(int signal, int expected_code) {
  const test::TemporaryFolder folder;
  constexpr std::size_t kWriters = 3;
  std::vector<Told> told(kWriters);
  std::vector<int> versions(kWriters, 0);
  std::atomic<std::size_t> acknowledged{0};
  for (int round = 0; round <= rounds(); ++round) {
    Process process = serve(folder);
    ASSERT_NE(process.first_line(), "");
    const int port = process.port();
    if (round == 0) {
      ASSERT_EQ(HttpClient(port).put("/collections/c", {{"dim", kDim}, {"metric", "l2"}}).status,
                201);
    }
    for (std::size_t w = 0; w < kWriters; ++w) check(port, static_cast<Id>(1000 * w), told[w]);
    if (testing::Test::HasFailure()) return;
    if (round == rounds()) break;
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (std::size_t w = 0; w < kWriters; ++w) {
      threads.emplace_back([&, w] {
        acknowledged +=
            write_until_it_breaks(port, static_cast<Id>(1000 * w), versions[w], told[w]);
      });
    }
    threads.emplace_back([&] {  // and searches, and folding in, meanwhile
      HttpClient client(port);
      client.post("/collections/c/settle", json::object());
      while (!over &&
             client.post("/collections/c/search", {{"vector", vector_of(5, 5)}}).status == 200) {
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + 37 * (round % 11)));
    const int code = process.end(signal);
    over = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(code, expected_code) << "round " << round;
  }
  EXPECT_GT(acknowledged, static_cast<std::size_t>(rounds()));
  std::printf("%s: ended %d times, %zu writes acknowledged, none lost\n", strsignal(signal),
              rounds(), acknowledged.load());
}

TEST(ServeProcess, KillNineLosesNoAcknowledgedWrite) { survive(SIGKILL, 128 + SIGKILL); }

TEST(ServeProcess, TermDrainsSavesAndEndsWell) { survive(SIGTERM, 0); }

TEST(ServeProcess, RefusesToListenElsewhereWithoutAToken) {
  const test::TemporaryFolder folder;
  const std::string errors = (folder / "errors").string(), token = (folder / "token").string();
  Process process(
      {"serve", "--data", (folder / "data").string(), "--port", "0", "--host", "0.0.0.0"}, errors);
  EXPECT_EQ(process.wait(), 1);
  std::string text;
  std::getline(std::ifstream(errors), text);
  EXPECT_NE(text.find("halo: invalid_argument: "), std::string::npos) << text;
  EXPECT_NE(text.find("token"), std::string::npos) << text;

  std::ofstream(token) << "short\n";
  Process weak({"serve", "--data", (folder / "data").string(), "--port", "0", "--host", "0.0.0.0",
                "--admin-token-file", token},
               errors);
  EXPECT_EQ(weak.wait(), 1);

  std::ofstream(token) << "a-token-of-some-length\n";
  Process fine({"serve", "--data", (folder / "data").string(), "--port", "0", "--host", "0.0.0.0",
                "--json", "--admin-token-file", token},
               errors);
  HttpClient client(fine.port());
  EXPECT_EQ(client.get("/livez").status, 200);
  EXPECT_EQ(client.get("/collections").status, 401);
  EXPECT_EQ(
      client.request("GET", "/collections", "", "Authorization: Bearer a-token-of-some-length\r\n")
          .status,
      200);
  EXPECT_EQ(fine.end(SIGTERM), 0);
}

TEST(ServeProcess, TheExamplesRun) {
  const test::TemporaryFolder folder;
  Process process = serve(folder);
  const std::string url = " http://127.0.0.1:" + std::to_string(process.port()) + " >/dev/null";
  const std::string examples = std::string(HALO_SOURCE_DIR) + "/examples/service/";
  const auto have = [](const std::string& program) {
    return std::system(("command -v " + program + " >/dev/null").c_str()) == 0;
  };
  if (!have("python3") && !have("curl")) GTEST_SKIP() << "neither python3 nor curl is here";
  if (have("python3")) {
    EXPECT_EQ(std::system((examples + "client.py" + url).c_str()), 0);
  }
  if (have("curl")) {
    EXPECT_EQ(std::system((examples + "client.sh" + url).c_str()), 0);
  }
}

TEST(ServeProcess, MakesACollectionOfAnIndexFile) {
  const test::TemporaryFolder folder;
  {
    std::ofstream vectors((folder / "v.fvecs").string(), std::ios::binary);
    for (int i = 0; i < 50; ++i) {
      const std::int32_t dim = 4;
      const float row[4] = {static_cast<float>(i), 1, 2, 3};
      vectors.write(reinterpret_cast<const char*>(&dim), sizeof(dim));
      vectors.write(reinterpret_cast<const char*>(row), sizeof(row));
    }
  }
  const std::string index = (folder / "my index.halo").string();
  Process build({"build", "--vectors", (folder / "v.fvecs").string(), "--metric", "l2", "--out",
                 index, "--quiet"});
  ASSERT_EQ(build.wait(), 0);
  const std::vector<std::string> arguments = {
      "serve", "--data", (folder / "data").string(), "--index", index, "--port", "0", "--json"};
  for (int start = 0; start < 2; ++start) {  // the second time it is there already
    Process process(arguments);
    HttpClient client(process.port());
    const HttpAnswer answer =
        client.post("/collections/my-index/search", {{"vector", {7.1, 1, 2, 3}}, {"k", 1}});
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.json()["results"][0]["id"], start == 0 ? 7 : 100);
    EXPECT_EQ(client
                  .post("/collections/my-index/items",
                        {{"items", json::array({{{"id", 100}, {"vector", {7.1, 1, 2, 3}}}})}})
                  .status,
              200);
    EXPECT_EQ(process.end(SIGTERM), 0);
  }
}

}  // namespace
}  // namespace halo::service
