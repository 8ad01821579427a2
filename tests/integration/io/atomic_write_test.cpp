#include "halo/integration/io/atomic_write.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/random.h"
#include "integration/io/faulty_file_system.h"
#include "integration/io/memory_file_system.h"
#include "support/test_support.h"

namespace halo::io {
namespace {

namespace fs = std::filesystem;
using halo::test::expect_error;
using halo::test::TemporaryFolder;
using test::FaultyFileSystem;
using Fault = FaultyFileSystem::Fault;

void put(const fs::path& path, const std::string& text,
         const FileSystem& file_system = posix_file_system()) {
  atomic_write(file_system, path, [&](Output& output) {
    // Several writes, so that one in the middle can fail.
    const std::size_t half = text.size() / 2;
    output.write(std::as_bytes(std::span(text)).first(half));
    output.write(std::as_bytes(std::span(text)).subspan(half));
    EXPECT_EQ(output.written(), text.size());
  });
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(AtomicWrite, CreatesAndReplaces) {
  const TemporaryFolder folder;
  put(folder / "index", "first");
  EXPECT_EQ(contents(folder / "index"), "first");
  put(folder / "index", "second, longer");
  EXPECT_EQ(contents(folder / "index"), "second, longer");
  put(folder / "index", "");
  EXPECT_EQ(contents(folder / "index"), "");
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(AtomicWrite, WorksOnANameWithoutAFolder) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  put("index", "here");
  put("index", "again");
  fs::current_path(before);
  EXPECT_EQ(contents(folder / "index"), "again");
}

TEST(AtomicWrite, KeepsPermissionsAndFollowsLinks) {
  const TemporaryFolder folder;
  put(folder / "real", "old");
  ASSERT_EQ(chmod((folder / "real").c_str(), 0640), 0);
  fs::create_symlink("real", folder / "link");
  put(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(contents(folder / "real"), "new");
  EXPECT_EQ(fs::status(folder / "real").permissions(), static_cast<fs::perms>(0640));
}

TEST(AtomicWrite, AnExceptionOfTheWriterLeavesTheOldFile) {
  const TemporaryFolder folder;
  put(folder / "index", "old");
  const auto write_half = [](auto exception) {
    return [=](Output& output) {
      output.write(std::as_bytes(std::span("half a file", 11)));
      throw exception;
    };
  };
  expect_error(ErrorCode::kCancelled, "stopped", [&] {
    atomic_write(posix_file_system(), folder / "index",
                 write_half(Error(ErrorCode::kCancelled, "stopped")));
  });
  EXPECT_THROW(atomic_write(posix_file_system(), folder / "index", write_half(std::bad_alloc())),
               std::bad_alloc);
  EXPECT_EQ(contents(folder / "index"), "old");
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(AtomicWrite, RefusesWhatIsNotAFile) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "folder");
  expect_error(ErrorCode::kIo, "folder: Is a directory", [&] { put(folder / "folder", "x"); });
  expect_error(ErrorCode::kIo, "Is a directory", [&] { put(folder.path() / "", "x"); });
  expect_error(ErrorCode::kNotFound, "missing/index", [&] { put(folder / "missing/index", "x"); });
  expect_error(ErrorCode::kIo, "Not a directory", [&] {
    put(folder / "index", "x");
    put(folder / "index/below", "x");
  });
  expect_error(ErrorCode::kNotFound, "No such file", [&] { put("", "x"); });
  // Renaming onto a device would replace it.
  expect_error(ErrorCode::kIo, "/dev/full: not a regular file", [&] { put("/dev/full", "x"); });
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST(AtomicWrite, RefusesAFolderWithoutPermission) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
  expect_error(ErrorCode::kIo, "index: Permission denied", [&] { put(folder / "index", "x"); });
  fs::permissions(folder.path(), fs::perms::owner_all);
}

/// Fails each call of a write in turn and looks at what is left.
class EveryFault : public testing::TestWithParam<Fault> {};

TEST_P(EveryFault, TheOldFileStaysByteIdentical) {
  const TemporaryFolder folder;
  const std::string old_text = "the old file";
  const std::string new_text = "the new file, a little longer";
  put(folder / "index", old_text);
  const FaultyFileSystem counting(posix_file_system());
  put(folder / "index", new_text, counting);
  ASSERT_GE(counting.calls(), 7);  // target, temporary, 2 writes, sync, exchange, folder, remove

  for (int n = 0; n < counting.calls(); ++n) {
    SCOPED_TRACE(n);
    put(folder / "index", old_text);
    const FaultyFileSystem faulty(posix_file_system(), n, GetParam());
    bool failed = false;
    try {
      put(folder / "index", new_text, faulty);
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(error.code(), GetParam() == Fault::kEio ? ErrorCode::kIo : ErrorCode::kNoSpace);
      EXPECT_NE(std::string(error.what()).find(folder.path().string()), std::string::npos);
    }
    EXPECT_TRUE(faulty.failed());
    // The last call removes the temporary file; the new one is in place by then.
    const bool last = n == counting.calls() - 1;
    EXPECT_EQ(failed, !last && GetParam() != Fault::kHarmlessShortWrite);
    EXPECT_EQ(contents(folder / "index"), failed ? old_text : new_text);
    // What the failing removal left is swept by the next writer.
    put(folder / "index", old_text);
    EXPECT_EQ(files_in(folder.path()), 1u);
  }
}

TEST_P(EveryFault, ANewFileIsThereWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const FaultyFileSystem counting(posix_file_system());
  put(folder / "index", "new", counting);
  for (int n = 0; n < counting.calls(); ++n) {
    SCOPED_TRACE(n);
    fs::remove(folder / "index");
    const FaultyFileSystem faulty(posix_file_system(), n, GetParam());
    bool failed = false;
    try {
      put(folder / "index", "new", faulty);
    } catch (const Error&) {
      failed = true;
    }
    EXPECT_EQ(failed, GetParam() != Fault::kHarmlessShortWrite);
    EXPECT_EQ(fs::exists(folder / "index"), !failed);
    EXPECT_EQ(files_in(folder.path()), failed ? 0u : 1u);
  }
}

TEST_P(EveryFault, ADiskThatStaysBrokenLeavesTheOldFileOrTheWholeNewOne) {
  const TemporaryFolder folder;
  const FaultyFileSystem counting(posix_file_system());
  put(folder / "index", "old");
  put(folder / "index", "new", counting);
  for (int n = 0; n < counting.calls(); ++n) {
    SCOPED_TRACE(n);
    put(folder / "index", "old");
    const FaultyFileSystem faulty(posix_file_system(), n, GetParam(), true);
    try {
      put(folder / "index", "new", faulty);
    } catch (const Error&) {
    }
    const std::string found = contents(folder / "index");
    EXPECT_TRUE(found == "old" || found == "new") << found;
  }
}

std::string fault_name(const testing::TestParamInfo<Fault>& fault) {
  constexpr const char* kNames[] = {"Eio", "NoSpace", "ShortWrite", "HarmlessShortWrite"};
  return kNames[static_cast<int>(fault.param)];
}

INSTANTIATE_TEST_SUITE_P(AtomicWrite, EveryFault,
                         testing::Values(Fault::kEio, Fault::kNoSpace, Fault::kShortWrite,
                                         Fault::kHarmlessShortWrite),
                         fault_name);

TEST(AtomicWrite, RenamesWhereFilesCannotBeSwapped) {
  test::MemoryFileSystem memory;
  memory.can_exchange = false;
  put("index", "old", memory);
  put("index", "new", memory);
  EXPECT_EQ(memory.get("index"), test::bytes_of("new"));
  EXPECT_EQ(memory.count(), 1u);
  const FaultyFileSystem counting(memory);
  put("index", "new", counting);
  for (int n = 0; n < counting.calls(); ++n) {
    SCOPED_TRACE(n);
    put("index", "old", memory);
    const FaultyFileSystem faulty(memory, n, Fault::kEio);
    EXPECT_THROW(put("index", "new", faulty), Error);
    // Only the sync of the folder comes after the move.
    const bool moved = n == counting.calls() - 1;
    EXPECT_EQ(memory.get("index"), test::bytes_of(moved ? "new" : "old"));
    EXPECT_EQ(memory.count(), 1u);
  }
}

TEST(AtomicWrite, WritersOfOnePathDoNotDisturbEachOther) {
  const TemporaryFolder folder;
  std::vector<std::thread> writers;
  for (char letter = 'a'; letter < 'e'; ++letter) {
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 25; ++i) put(folder / "index", std::string(1000, letter));
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string found = contents(folder / "index");
  EXPECT_EQ(found, std::string(1000, found.at(0)));
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(AtomicWrite, SurvivesKills) {
  const TemporaryFolder folder;
  const fs::path path = folder / "index";
  const std::string texts[2] = {std::string(300000, 'a'), std::string(200000, 'b')};
  put(path, texts[0]);
  Random random(7);
  for (int round = 0; round < 40; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int i = 1;; ++i) {
        const std::string& text = texts[i % 2];
        try {
          atomic_write(posix_file_system(), path, [&](Output& output) {
            for (std::size_t begin = 0; begin < text.size(); begin += 10000) {
              output.write(std::as_bytes(std::span(text)).subspan(begin, 10000));
            }
          });
        } catch (...) {
          _exit(1);
        }
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200 + random.below(8000)));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    const std::string found = contents(path);
    ASSERT_TRUE(found == texts[0] || found == texts[1]) << round << ": " << found.size();
  }
  put(path, "last");
  EXPECT_EQ(files_in(folder.path()), 1u) << "abandoned temporary files were not swept";
}

TEST(PosixFileSystem, RefusesToReadWhatIsNotAFile) {
  const TemporaryFolder folder;
  const auto open = [&](const fs::path& path) { posix_file_system().open(path); };
  expect_error(ErrorCode::kNotFound, "missing", [&] { open(folder / "missing"); });
  expect_error(ErrorCode::kIo, "Is a directory", [&] { open(folder.path()); });
  expect_error(ErrorCode::kIo, "not a regular file", [&] { open("/dev/null"); });
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::kIo, "not a regular file", [&] { open(folder / "pipe"); });
  put(folder / "secret", "x");
  if (geteuid() != 0) {
    fs::permissions(folder / "secret", fs::perms::none);
    expect_error(ErrorCode::kIo, "secret: Permission denied", [&] { open(folder / "secret"); });
  }
  expect_error(ErrorCode::kIo, "Not a directory", [&] { open(folder / "secret/below"); });
}

TEST(PosixFileSystem, ReportsAFileThatEndsEarly) {
  const TemporaryFolder folder;
  put(folder / "file", "four");
  const InputFile file(posix_file_system(), folder / "file");
  std::vector<std::byte> bytes(5);
  file.read(1, std::span(bytes).first(3));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), 3), "our");
  expect_error(ErrorCode::kCorrupt, "file: the file ends", [&] { file.read(0, bytes); });
  expect_error(ErrorCode::kCorrupt, "ends", [&] { file.read(1000, bytes); });
}

TEST(PosixFileSystem, TranslatesErrors) {
  const auto code = [](int number) {
    try {
      throw_errno("write", "file", number);
    } catch (const Error& error) {
      return error.code();
    }
  };
  for (const int number : {ENOSPC, EDQUOT, EFBIG}) EXPECT_EQ(code(number), ErrorCode::kNoSpace);
  EXPECT_EQ(code(ENOENT), ErrorCode::kNotFound);
  EXPECT_EQ(code(ENOMEM), ErrorCode::kOutOfMemory);
  for (const int number : {EIO, EACCES, EISDIR, EROFS}) EXPECT_EQ(code(number), ErrorCode::kIo);
}

}  // namespace
}  // namespace halo::io
