// Numbers and tables as people read them. Thread-safety: free functions.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace halo::cli {

std::string with_commas(std::uint64_t value);   ///< "60,000"
std::string fixed(double value, int decimals);  ///< "0.98"
std::string percent(double share);              ///< "98.31" of 0.9831
std::string duration(double seconds);           ///< "0.42 ms", "3.1 s", "2 min 05 s"
std::string bytes(std::uint64_t count);         ///< "194.3 MB", powers of 1000

/// Name and value a line, values aligned.
class Facts {
 public:
  void add(std::string name, std::string value);
  void print(std::ostream& out) const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

/// A table with a header; the first column is aligned left, the others right.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  /// As many cells as the header has.
  void add(std::vector<std::string> cells);
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace halo::cli
