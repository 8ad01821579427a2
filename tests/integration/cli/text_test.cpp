#include "halo/integration/cli/text.h"

#include <gtest/gtest.h>

#include <sstream>

namespace halo::cli {
namespace {

TEST(TextTest, Numbers) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(fixed(2.0 / 3, 2), "0.67");
  EXPECT_EQ(fixed(-1.5, 0), "-2");
  EXPECT_EQ(fixed(1e300, 0).size(), 301U);
  EXPECT_EQ(percent(0.98314), "98.31");
}

TEST(TextTest, Durations) {
  EXPECT_EQ(duration(0), "0.00 ms");
  EXPECT_EQ(duration(0.000421), "0.42 ms");
  EXPECT_EQ(duration(0.0421), "42.1 ms");
  EXPECT_EQ(duration(0.42), "0.42 s");
  EXPECT_EQ(duration(12.34), "12.3 s");
  EXPECT_EQ(duration(125), "2 min 05 s");
  EXPECT_EQ(duration(3 * 3600 + 7 * 60), "3 h 07 min");
}

TEST(TextTest, Bytes) {
  EXPECT_EQ(bytes(999), "999 B");
  EXPECT_EQ(bytes(1000), "1.0 kB");
  EXPECT_EQ(bytes(194'300'000), "194.3 MB");
  EXPECT_EQ(bytes(999'960'000), "1.0 GB");
  EXPECT_EQ(bytes(3'000'000'000'000), "3.0 TB");
}

TEST(TextTest, FactsAlignTheirValues) {
  Facts facts;
  facts.add("k", "10");
  facts.add("queries", "5");
  std::ostringstream out;
  facts.print(out);
  EXPECT_EQ(out.str(), "k        10\nqueries  5\n");
}

TEST(TextTest, TablesAlignNumbersRightAndEndWithoutSpaces) {
  Table table({"mode", "P@1", "p50"});
  table.add({"off", "98.31", "0.4 ms"});
  table.add({"auto", "+0.5", ""});
  std::ostringstream out;
  table.print(out);
  EXPECT_EQ(out.str(), "mode    P@1     p50\noff   98.31  0.4 ms\nauto   +0.5\n");
}

}  // namespace
}  // namespace halo::cli
