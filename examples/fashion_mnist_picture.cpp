// Draws what refinement changes: some Fashion-MNIST queries with their first results before and
// after.
//
//   fashion_mnist_picture INDEX BASE_IMAGES BASE_LABELS QUERY_IMAGES QUERY_LABELS OUT.png
//
// The index must hold BASE_IMAGES under their row numbers and be prepared (halo refine). For each
// class the query whose number of right results changed most is drawn, for better or worse: the
// query on the left, its nearest neighbours above, the refined results below. A green frame is a
// result of the query's class, a red one is not.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/png.h"
#include "halo/integration/io/vectors.h"

namespace {

constexpr std::size_t kSide = 28;  // pixels of an image
constexpr std::size_t kScale = 2;  // each drawn so many times as wide and high
constexpr std::size_t kFrame = 3;  // around an image
constexpr std::size_t kTile = kSide * kScale + 2 * kFrame;
constexpr std::size_t kGap = 4;    // between tiles
constexpr std::size_t kBand = 16;  // between queries
constexpr std::size_t kMargin = 12;
constexpr std::size_t kTextWidth = 84;
constexpr std::size_t kResults = 10;

struct Colour {
  std::uint8_t red, green, blue;
};
constexpr Colour kPaper{255, 255, 255};
constexpr Colour kInk{40, 40, 40};
constexpr Colour kRight{30, 160, 60};
constexpr Colour kWrong{210, 40, 40};

class Canvas {
 public:
  Canvas(std::size_t width, std::size_t height)
      : width_(width), height_(height), pixels_(width * height * 3, kPaper.red) {}

  void fill(std::size_t x, std::size_t y, std::size_t width, std::size_t height, Colour colour) {
    for (std::size_t row = y; row < y + height; ++row) {
      for (std::size_t column = x; column < x + width; ++column) set(column, row, colour);
    }
  }

  /// An image in a frame.
  void tile(std::size_t x, std::size_t y, const float* image, Colour frame) {
    fill(x, y, kTile, kTile, frame);
    for (std::size_t row = 0; row < kSide * kScale; ++row) {
      for (std::size_t column = 0; column < kSide * kScale; ++column) {
        const float value = image[row / kScale * kSide + column / kScale];
        const auto grey = static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F));
        set(x + kFrame + column, y + kFrame + row, {grey, grey, grey});
      }
    }
  }

  /// Capital letters of a 5 x 7 alphabet, twice as large.
  void text(std::size_t x, std::size_t y, const std::string& word) {
    static const std::map<char, std::array<std::uint8_t, 7>> kLetters = {
        {'A', {14, 17, 17, 31, 17, 17, 17}}, {'B', {30, 17, 17, 30, 17, 17, 30}},
        {'E', {31, 16, 16, 30, 16, 16, 31}}, {'F', {31, 16, 16, 30, 16, 16, 16}},
        {'O', {14, 17, 17, 17, 17, 17, 14}}, {'R', {30, 17, 17, 30, 20, 18, 17}},
        {'T', {31, 4, 4, 4, 4, 4, 4}}};
    for (const char letter : word) {
      const auto& rows = kLetters.at(letter);
      for (std::size_t row = 0; row < 7; ++row) {
        for (std::size_t column = 0; column < 5; ++column) {
          if ((rows[row] >> (4 - column) & 1) != 0) fill(x + 2 * column, y + 2 * row, 2, 2, kInk);
        }
      }
      x += 12;
    }
  }

  void save(const std::string& path) const {
    halo::io::write_png(path, width_, height_, 3, pixels_);
  }

 private:
  void set(std::size_t x, std::size_t y, Colour colour) {
    std::uint8_t* pixel = &pixels_[(y * width_ + x) * 3];
    pixel[0] = colour.red;
    pixel[1] = colour.green;
    pixel[2] = colour.blue;
  }

  std::size_t width_, height_;
  std::vector<std::uint8_t> pixels_;
};

const char* class_name(std::int64_t label) {
  constexpr std::array<const char*, 10> kNames = {"T-shirt", "trouser",   "pullover", "dress",
                                                  "coat",    "sandal",    "shirt",    "sneaker",
                                                  "bag",     "ankle boot"};
  return label >= 0 && label < 10 ? kNames[static_cast<std::size_t>(label)] : "?";
}

struct Labels {
  std::vector<std::int64_t> base, query;

  bool right(std::size_t query_row, halo::Id id) const {
    return id >= 0 && base.at(static_cast<std::size_t>(id)) == query.at(query_row);
  }
  int hits(std::size_t query_row, const halo::BatchResults& results) const {
    int count = 0;
    for (std::size_t i = 0; i < kResults; ++i) {
      count += right(query_row, results.ids[query_row * kResults + i]) ? 1 : 0;
    }
    return count;
  }
};

/// For each class the query whose hits changed most; the first of several.
std::vector<std::size_t> most_changed(const halo::BatchResults& before,
                                      const halo::BatchResults& after, const Labels& labels) {
  std::map<std::int64_t, std::pair<int, std::size_t>> best;  // class -> change, query
  for (std::size_t q = 0; q < before.found.size(); ++q) {
    const int change = std::abs(labels.hits(q, after) - labels.hits(q, before));
    const auto [place, fresh] = best.try_emplace(labels.query[q], change, q);
    if (!fresh && change > place->second.first) place->second = {change, q};
  }
  std::vector<std::size_t> queries;
  for (const auto& [label, choice] : best) {
    if (choice.first > 0) queries.push_back(choice.second);
  }
  return queries;
}

void draw_results(Canvas& canvas, std::size_t y, const std::string& word, std::size_t query,
                  const halo::BatchResults& results, const halo::Matrix& base,
                  const Labels& labels) {
  const std::size_t left = kMargin + kTile + kBand;
  canvas.text(left, y + kTile / 2 - 7, word);
  for (std::size_t i = 0; i < kResults; ++i) {
    const halo::Id id = results.ids[query * kResults + i];
    if (id < 0) continue;
    canvas.tile(left + kTextWidth + i * (kTile + kGap), y, base.row(static_cast<std::size_t>(id)),
                labels.right(query, id) ? kRight : kWrong);
  }
}

void draw(const std::string& path, const std::vector<std::size_t>& chosen,
          const halo::Matrix& queries, const halo::Matrix& base, const halo::BatchResults& before,
          const halo::BatchResults& after, const Labels& labels) {
  const std::size_t height_of_one = 2 * kTile + kGap + kBand;
  Canvas canvas(2 * kMargin + kTile + kBand + kTextWidth + kResults * (kTile + kGap) - kGap,
                2 * kMargin + chosen.size() * height_of_one - kBand);
  std::size_t y = kMargin;
  for (const std::size_t query : chosen) {
    canvas.tile(kMargin, y + (kTile + kGap) / 2, queries.row(query), kInk);
    draw_results(canvas, y, "BEFORE", query, before, base, labels);
    draw_results(canvas, y + kTile + kGap, "AFTER", query, after, base, labels);
    y += height_of_one;
  }
  canvas.save(path);
}

void run(char** argv) {
  const halo::Executor executor;
  const halo::Engine engine = halo::Engine::load(argv[1]);
  const halo::Matrix base = halo::io::load_vectors(argv[2]);
  const halo::Matrix queries = halo::io::load_vectors(argv[4]);
  const Labels labels{halo::io::load_labels(argv[3]), halo::io::load_labels(argv[5])};
  if (base.cols() != kSide * kSide || labels.base.size() != base.rows() ||
      labels.query.size() != queries.rows()) {
    throw halo::Error(halo::ErrorCode::kInvalidArgument,
                      "images must be 28 x 28 and have a label each");
  }

  halo::QueryOptions options;
  options.k = kResults;
  const halo::BatchResults before = engine.search(queries, options, executor);
  options.refine = halo::RefineMode::kAuto;
  const halo::BatchResults after = engine.search(queries, options, executor);

  const std::vector<std::size_t> chosen = most_changed(before, after, labels);
  if (chosen.empty()) {
    std::printf("refinement changed no query's number of right results: nothing to draw\n");
    return;
  }
  std::size_t better = 0;
  std::size_t worse = 0;
  for (std::size_t q = 0; q < queries.rows(); ++q) {
    better += labels.hits(q, after) > labels.hits(q, before) ? 1 : 0;
    worse += labels.hits(q, after) < labels.hits(q, before) ? 1 : 0;
  }
  std::printf(
      "Of %zu queries, %zu have more results of their class among the first %zu after "
      "refinement, %zu have fewer.\n",
      queries.rows(), better, kResults, worse);
  for (const std::size_t q : chosen) {
    std::printf("  query %5zu, %-10s  right before %2d, after %2d\n", q,
                class_name(labels.query[q]), labels.hits(q, before), labels.hits(q, after));
  }
  draw(argv[6], chosen, queries, base, before, after, labels);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: %s INDEX BASE_IMAGES BASE_LABELS QUERY_IMAGES QUERY_LABELS OUT.png\n",
                 argv[0]);
    return 2;
  }
  try {
    run(argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
