// Every writer with every system call it makes failing, in every way there is: an error comes back
// and the old file is byte for byte what it was, or the whole new file is there. Every reader the
// same way: an error, or what the file holds. And disks that are really full.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "halo/core/csr_mask.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/mask_png.h"
#include "halo/integration/io/model_tensors.h"
#include "halo/integration/io/npy_writer.h"
#include "halo/integration/io/png.h"
#include "halo/integration/io/safetensors.h"
#include "halo/integration/io/vectors.h"
#include "halo/integration/train.h"
#include "integration/faults/system_calls.h"
#include "support/test_support.h"

namespace halo::faults {
namespace {

namespace fs = std::filesystem;

/// Small, with every kind of section.
const Engine& engine() {
  static const Engine kEngine = [] {
    const Executor executor(1);
    gnn::RefineOptions options;
    options.spectral_rank = 4;
    const Engine refined =
        Engine::build(test::clustered_matrix(60, 8, 6, 0.5F, 3), {}, {}, executor)
            .refined(options, executor);
    Matrix basis = Matrix::padded(2, 8);
    basis.row(0)[0] = basis.row(1)[1] = 1;
    return refined.with_trained(prepare_trained(
        *refined.snapshot(), {"pca", gnn::Projection(std::vector<float>(8), std::move(basis))}, {},
        0, executor));
  }();
  return kEngine;
}

struct Writer {
  const char* name;
  std::function<void(const fs::path&)> write;
};
std::ostream& operator<<(std::ostream& out, const Writer& writer) { return out << writer.name; }

std::vector<Writer> writers() {
  const auto plain = [](const fs::path& path) { Engine(engine().snapshot()).save(path); };
  const auto refined = [](const fs::path& path) {
    Engine(engine().snapshot(), engine().model()).save(path);
  };
  const auto trained = [](const fs::path& path) { engine().save(path); };
  const auto tensors = [](const fs::path& path) { io::export_model(path, *engine().trained()); };
  const auto ids = [](const fs::path& path) {
    const std::vector<std::int64_t> values(100, 7);
    io::write_npy(path, 10, 10, values);
  };
  const auto floats = [](const fs::path& path) {
    io::write_npy(path, test::random_matrix(5, 3, 1));  // padded: a write a row
  };
  const auto png = [](const fs::path& path) {
    const std::vector<std::uint8_t> pixels(48, 9);
    io::write_png(path, 4, 4, 3, pixels);
  };
  const auto mask = [](const fs::path& path) {
    io::write_mask_png(path, CsrMask::from_rows({{0, 1}, {1}}, 2), 64);
  };
  return {{"Index", plain},
          {"RefinedIndex", refined},
          {"TrainedIndex", trained},
          {"Safetensors", tensors},
          {"NpyIds", ids},
          {"NpyFloats", floats},
          {"Png", png},
          {"MaskPng", mask}};
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// Calls whose failure means that something was not written, or not known to be.
bool must_be_reported(const Call& call) {
  return call.name == "write" || call.name == "fsync" || call.name == "fsync folder" ||
         call.name == "rename" || call.name == "renameat2" || call.name == "fchmod";
}

constexpr const char* kOld = "what was there before";

class EveryWriter : public testing::TestWithParam<Writer> {
 protected:
  /// The error that writing ended with, if any.
  std::optional<ErrorCode> write() const {
    try {
      GetParam().write(path_);
      return std::nullopt;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(folder_.path().string()), std::string::npos)
          << error.what();
      return error.code();
    }
  }
  void expect_no_leftovers() const {
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      EXPECT_EQ(entry.path(), path_);
    }
  }
  std::string whole() const {
    GetParam().write(path_);
    return contents(path_);
  }

  test::TemporaryFolder folder_;
  fs::path path_ = folder_ / "file";
};

TEST_P(EveryWriter, KeepsTheOldFileWhicheverCallFails) {
  const std::string made = whole();
  std::size_t injected = 0, reported = 0;
  for (const bool can_exchange : {true, false}) {
    for (const Kind kind :
         {Kind::kEio, Kind::kNoSpace, Kind::kInterrupted, Kind::kShort, Kind::kFull}) {
      for (std::size_t n = 0;; ++n) {
        SCOPED_TRACE(n);
        put(path_, kOld);
        std::optional<ErrorCode> error;
        std::size_t calls = 0;
        Call spoiled;
        {
          const Plan plan(kind, n, can_exchange);
          error = write();
          calls = plan.calls().size();
          if (plan.spoiled() != nullptr) spoiled = *plan.spoiled();
        }
        if (n >= calls) break;
        if (!spoiled.failed) continue;  // a call that this kind of fault does not concern
        ++injected;
        SCOPED_TRACE(spoiled.name);
        const std::string now = contents(path_);
        if (error) {
          ++reported;
          const ErrorCode expected = kind == Kind::kEio ? ErrorCode::kIo : ErrorCode::kNoSpace;
          EXPECT_EQ(*error, expected);
          // Where files cannot be swapped, the move itself may not be durable: the header says so.
          const bool moved = !can_exchange && spoiled.name.ends_with(" folder");
          EXPECT_TRUE(now == kOld || (moved && now == made));
        } else {
          EXPECT_EQ(now, made);
          EXPECT_TRUE(kind == Kind::kInterrupted || kind == Kind::kShort ||
                      !must_be_reported(spoiled));
        }
        EXPECT_FALSE(error && (kind == Kind::kInterrupted || kind == Kind::kShort));
        // What a failing removal left behind is swept by the next writer.
        whole();
        expect_no_leftovers();
      }
    }
  }
  EXPECT_GT(reported, 10u);
  std::printf("%zu faults injected, %zu reported, 0 files harmed\n", injected, reported);
}

TEST_P(EveryWriter, MakesANewFileWholeOrNotAtAll) {
  const std::string made = whole();
  for (const Kind kind : {Kind::kEio, Kind::kNoSpace, Kind::kFull}) {
    for (std::size_t n = 0;; ++n) {
      SCOPED_TRACE(n);
      fs::remove(path_);
      std::size_t calls = 0;
      std::optional<ErrorCode> error;
      {
        const Plan plan(kind, n);
        error = write();
        calls = plan.calls().size();
      }
      if (n >= calls) break;
      EXPECT_EQ(fs::exists(path_), !error);
      EXPECT_TRUE(error || contents(path_) == made);
    }
  }
}

TEST_P(EveryWriter, SyncsTheFileBeforeTheMoveAndTheFolderAfterIt) {
  for (const bool can_exchange : {true, false}) {
    put(path_, kOld);
    std::vector<std::string> order;
    {
      const Plan plan(Kind::kNone, 0, can_exchange);
      write();
      for (const Call& call : plan.calls()) {
        if (must_be_reported(call) && call.name != "fchmod") order.push_back(call.name);
      }
    }
    const std::string move = can_exchange ? "renameat2" : "rename";
    ASSERT_GE(order.size(), 4u);
    EXPECT_EQ(std::vector<std::string>(order.end() - 3, order.end()),
              (std::vector<std::string>{"fsync", move, "fsync folder"}));
    EXPECT_TRUE(std::all_of(order.begin(), order.end() - 3,
                            [](const std::string& name) { return name == "write"; }));
  }
}

/// Files may grow to `bytes` while it lives, as on a disk with so much left.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(std::size_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  sighandler_t handler_ = SIG_DFL;
};

TEST_P(EveryWriter, ReportsALimitOfTheFileSize) {
  const std::string made = whole();
  const std::size_t step = std::max<std::size_t>(1, made.size() / 37);
  for (std::size_t bytes = 0; bytes < made.size(); bytes += step) {
    SCOPED_TRACE(bytes);
    put(path_, kOld);
    std::optional<ErrorCode> error;
    {
      const FileSizeLimit limit(bytes);
      error = write();
    }
    EXPECT_EQ(error, ErrorCode::kNoSpace);
    EXPECT_EQ(contents(path_), kOld);
    expect_no_leftovers();
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, EveryWriter, testing::ValuesIn(writers()),
                         [](const testing::TestParamInfo<Writer>& writer) {
                           return std::string(writer.param.name);
                         });

/// Lets this process mount for itself alone; false where it may not.
bool may_mount() {
  if (unshare(CLONE_NEWNS) == 0)
    return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  const std::string user = "0 " + std::to_string(getuid()) + " 1";
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  put("/proc/self/uid_map", user);
  return getuid() == 0;
}

/// For a process of its own, with a disk of a few pages in `folder`: 0 where the full disk was
/// reported and the old file kept, 77 where it may not mount.
int on_a_full_disk(const fs::path& folder) {
  if (!may_mount()) return 77;
  if (mount("none", folder.c_str(), "tmpfs", 0, "size=16k") != 0) return 77;
  put(folder / "file", kOld);
  try {
    engine().save(folder / "file");
    return 1;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNoSpace) return 2;
  }
  const auto files = std::distance(fs::directory_iterator(folder), fs::directory_iterator());
  return contents(folder / "file") == kOld && files == 1 ? 0 : 3;
}

TEST(FullDisk, IsReportedAndTheOldIndexKept) {
  const test::TemporaryFolder folder;
  static_cast<void>(engine());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(on_a_full_disk(folder.path()));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no disk can be mounted here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

struct Reader {
  const char* name;
  std::function<void(const fs::path&)> make, read;
};
std::ostream& operator<<(std::ostream& out, const Reader& reader) { return out << reader.name; }

std::vector<Reader> readers() {
  const auto matrix = [](const fs::path& path) {
    io::write_npy(path, test::random_matrix(5, 3, 1));
  };
  return {
      {"index", [](const fs::path& path) { engine().save(path); },
       [](const fs::path& path) { Engine::load(path); }},
      {"a.npy", matrix, [](const fs::path& path) { io::load_vectors(path); }},
      {"a.fvecs",
       [](const fs::path& path) { put(path, std::string("\1\0\0\0abcd\1\0\0\0efgh", 16)); },
       [](const fs::path& path) { io::load_vectors(path); }},
      {"a.fbin", [](const fs::path& path) { put(path, std::string("\1\0\0\0\1\0\0\0abcd", 12)); },
       [](const fs::path& path) { io::load_vectors(path); }},
      {"a-ubyte", [](const fs::path& path) { put(path, std::string("\0\0\x8\x1\0\0\0\2ab", 10)); },
       [](const fs::path& path) { io::load_labels(path); }},
      {"a.qrels", [](const fs::path& path) { put(path, "0 0 1 1\n"); },
       [](const fs::path& path) { io::load_qrels(path); }},
      {"a.safetensors", [](const fs::path& path) { io::export_model(path, *engine().trained()); },
       [](const fs::path& path) { io::read_safetensors(path); }},
  };
}

class EveryReader : public testing::TestWithParam<Reader> {};

TEST_P(EveryReader, ReportsEveryCallThatFails) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / GetParam().name;
  GetParam().make(path);
  std::size_t injected = 0;
  for (const Kind kind : {Kind::kEio, Kind::kInterrupted, Kind::kShort}) {
    for (std::size_t n = 0;; ++n) {
      SCOPED_TRACE(n);
      bool refused = false, spoiled = false;
      std::size_t calls = 0;
      {
        const Plan plan(kind, n);
        try {
          GetParam().read(path);
        } catch (const Error& error) {
          refused = true;
          EXPECT_EQ(error.code(), ErrorCode::kIo) << error.what();
          EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
        }
        calls = plan.calls().size();
        spoiled = plan.spoiled() != nullptr;
      }
      if (n >= calls) break;
      injected += spoiled ? 1 : 0;
      EXPECT_EQ(refused, spoiled && kind == Kind::kEio);
    }
  }
  EXPECT_GT(injected, 3u);
  std::printf("%zu faults injected\n", injected);
}

INSTANTIATE_TEST_SUITE_P(Faults, EveryReader, testing::ValuesIn(readers()),
                         [](const testing::TestParamInfo<Reader>& reader) {
                           std::string name = reader.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halo::faults
