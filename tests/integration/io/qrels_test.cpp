#include <gtest/gtest.h>

#include "integration/io/load.h"

namespace halo::io::test {
namespace {

TEST(Qrels, ReadsLines) {
  const std::vector<Judgement> expected = {{0, 17, 1}, {3, 5, -2}, {0, 9007199254740993, 0}};
  EXPECT_EQ(qrels_in("0 0 17 1\n3 0 5 -2\n0 0 9007199254740993 0\n"), expected);
  EXPECT_EQ(qrels_in("0 0 17 1\n3 0 5 -2\n0 0 9007199254740993 0"), expected);
  EXPECT_EQ(qrels_in("\xef\xbb\xbf\r\n 0\tQ0  17 1 \r\n\r\n  \n3\t0\t5\t-2\r\n\n"
                     "0 0 9007199254740993 0\n\n\n",
                     4),
            expected);
}

TEST(Qrels, NamesTheBadLine) {
  const auto refused = [](const std::string& line) {
    expect_refusal(ErrorCode::kCorrupt, "qrels", "line 3: not of the form",
                   [&] { qrels_in("0 0 1 1\n\n" + line + "\n0 0 2 1\n"); });
  };
  for (const char* line :
       {"0", "0 0", "0 0 1", "0 0 1 1 1", "x 0 1 1", "0 0 x 1", "0 0 1 x", "0 0 1 1.5", "-1 0 1 1",
        "0 0 -1 1", "0 0 1 1x", "+1 0 1 1", "99999999999999999999 0 1 1",
        "0 0 9223372036854775808 1", "0 0 1 99999999999", "# comment", "0,0,1,1"}) {
    refused(line);
  }
  refused(std::string("0 0 1 1\0", 8));
  refused(std::string("\0", 1));
}

TEST(Qrels, ChecksQueryRows) {
  expect_refusal(ErrorCode::kCorrupt, "qrels", "line 2: query row 4, but there are 4 queries",
                 [] { qrels_in("3 0 1 1\n4 0 1 1\n", 4); });
}

TEST(Qrels, RefusesAFileWithoutJudgements) {
  for (const char* text : {"", "\n", " \r\n\t\n"}) {
    expect_refusal(ErrorCode::kEmpty, "qrels", "no judgements", [&] { qrels_in(text); });
  }
}

}  // namespace
}  // namespace halo::io::test
