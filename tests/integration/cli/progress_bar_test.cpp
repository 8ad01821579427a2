#include "halo/integration/cli/progress_bar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <thread>
#include <vector>

namespace halo::cli {
namespace {

/// A bar under a clock the test moves.
struct Clocked {
  explicit Clocked(bool terminal) : bar(out, terminal, [this] { return now; }) {}
  void pass(double seconds) {
    now += std::chrono::duration_cast<ProgressBar::Clock::duration>(
        std::chrono::duration<double>(seconds));
  }

  std::ostringstream out;
  ProgressBar::Clock::time_point now{std::chrono::hours(1)};
  ProgressBar bar;
};

TEST(ProgressBarTest, PlainOutputIsALineAStage) {
  Clocked clocked(false);
  clocked.bar.start("linking", 1000);
  clocked.pass(2);
  clocked.bar.advance(1000);
  clocked.bar.finish();
  EXPECT_EQ(clocked.out.str(), "linking  1,000 in 2.00 s, 500/s\n");
}

TEST(ProgressBarTest, LongPlainStagesSpeakEveryFiveSeconds) {
  Clocked clocked(false);
  clocked.bar.start("linking", 3000);
  for (int i = 0; i < 12; ++i) {
    clocked.pass(1);
    clocked.bar.advance(100);
  }
  EXPECT_EQ(clocked.out.str(),
            "linking  500 of 3,000 (17%), 100/s, 25.0 s left\n"
            "linking  1,000 of 3,000 (33%), 100/s, 20.0 s left\n");
}

TEST(ProgressBarTest, TerminalsGetABarThatDrawsOverItself) {
  Clocked clocked(true);
  clocked.bar.start("linking", 1000);
  clocked.pass(0.01);
  clocked.bar.advance(10);
  EXPECT_EQ(clocked.out.str(), "") << "too early to draw";
  clocked.pass(0.99);
  clocked.bar.advance(490);
  EXPECT_EQ(clocked.out.str(),
            "\r\x1b[Klinking  [############------------] 500 of 1,000 (50%), 500/s, 1.00 s left");
  clocked.out.str("");
  clocked.bar.clear();
  EXPECT_EQ(clocked.out.str(), "\r\x1b[K");
  clocked.out.str("");
  clocked.bar.clear();
  EXPECT_EQ(clocked.out.str(), "") << "nothing left to clear";
}

TEST(ProgressBarTest, AStoppedStageSaysHowFarItCame) {
  Clocked clocked(true);
  clocked.bar.start("linking", 1000);
  clocked.pass(1);
  clocked.bar.advance(250);
  clocked.bar.finish();
  EXPECT_NE(clocked.out.str().find("\r\x1b[Klinking  250 of 1,000 (25%) in 1.00 s, 250/s\n"),
            std::string::npos)
      << clocked.out.str();
}

TEST(ProgressBarTest, AStageThatWasRefusedSaysNothing) {
  Clocked clocked(false);
  clocked.bar.start("searching", 1000);
  clocked.bar.finish();
  EXPECT_EQ(clocked.out.str(), "");
}

TEST(ProgressBarTest, AStageOfNothingAndOneOfUnknownLengthAreFine) {
  Clocked clocked(false);
  clocked.bar.start("reading", 0);
  clocked.bar.finish();
  clocked.bar.start("reading", 0);
  clocked.pass(6);
  clocked.bar.advance(12);
  EXPECT_EQ(clocked.out.str(), "reading  0 in 0.00 ms\nreading  12, 2/s\n");
}

TEST(ProgressBarTest, CountsWhatManyThreadsAdvance) {
  std::ostringstream out;
  ProgressBar bar(out, true);
  bar.start("linking", 40'000);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&bar] {
        for (int i = 0; i < 10'000; ++i) bar.advance(1);
      });
    }
  }
  bar.finish();
  EXPECT_NE(out.str().find("linking  40,000 in "), std::string::npos) << out.str();
}

}  // namespace
}  // namespace halo::cli
