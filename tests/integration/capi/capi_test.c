/* The C API as a C program uses it: prints what is wrong and returns 1, or returns 0. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "halo/core/version.h"
#include "halo/integration/capi/halo.h"

#define ROWS 400
#define DIM 8
#define SAMPLES 60

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      printf("%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, halo_last_error());  \
      return 1;                                                                       \
    }                                                                                 \
  } while (0)

static float vectors[ROWS * DIM];
static int64_t row_ids[ROWS];

static void fill(void) {
  uint32_t state = 12345;
  for (size_t i = 0; i < ROWS; ++i) {
    row_ids[i] = (int64_t)i;
    for (size_t d = 0; d < DIM; ++d) {
      state = state * 1664525U + 1013904223U;
      vectors[i * DIM + d] = (float)(state >> 8) / 16777216.0F + (i % DIM == d ? 2.0F : 0.0F);
    }
  }
}

static int only_odd(int64_t id, void* user) {
  ++*(int*)user;
  return id % 2 == 1;
}

static int build_and_search(const halo_executor* executor, halo_index** out) {
  halo_build_options options;
  halo_build_options_init(&options);
  options.metric = HALO_METRIC_COSINE;
  halo_index* index = NULL;
  CHECK(halo_build(vectors, ROWS - 100, DIM, NULL, &options, executor, &index) == HALO_OK);
  CHECK(halo_size(index) == ROWS - 100 && halo_dim(index) == DIM);

  int64_t ids[5 * SAMPLES];
  float scores[5 * SAMPLES];
  halo_search_options search;
  halo_search_options_init(&search);
  search.k = 5;
  CHECK(halo_search(index, vectors, SAMPLES, &search, executor, ids, scores, NULL) == HALO_OK);
  for (size_t q = 0; q < SAMPLES; ++q) {
    CHECK(ids[5 * q] == (int64_t)q);
    CHECK(scores[5 * q] < 1e-5F && scores[5 * q] <= scores[5 * q + 1]);
  }
  int called = 0;
  search.filter = only_odd;
  search.user = &called;
  CHECK(halo_search(index, vectors, 4, &search, NULL, ids, scores, NULL) == HALO_OK);
  CHECK(called > 0);
  for (size_t i = 0; i < 20; ++i) CHECK(ids[i] % 2 == 1);
  *out = index;
  return 0;
}

static int change(halo_index* index) {
  const size_t first = ROWS - 100;
  CHECK(halo_add(index, vectors + first * DIM, 100, row_ids + first) == HALO_OK);
  CHECK(halo_size(index) == ROWS);
  CHECK(halo_add(index, vectors, 1, row_ids) == HALO_E_DUPLICATE_ID);
  CHECK(halo_upsert(index, vectors + DIM, 1, row_ids) == HALO_OK); /* id 0 is where id 1 is */
  float stored[DIM], other[DIM];
  CHECK(halo_get_vector(index, 0, stored) == HALO_OK && halo_get_vector(index, 1, other) == HALO_OK);
  for (size_t d = 0; d < DIM; ++d) CHECK(fabsf(stored[d] - other[d]) < 1e-6F);
  CHECK(halo_update(index, vectors, 1, row_ids) == HALO_OK);
  CHECK(halo_remove(index, row_ids + 10, 5) == HALO_OK);
  CHECK(!halo_contains(index, 12) && halo_contains(index, 15));
  CHECK(halo_remove(index, row_ids + 12, 1) == HALO_E_UNKNOWN_ID);
  CHECK(strstr(halo_last_error(), "12") != NULL);
  return 0;
}

static int refine(halo_index* index, const halo_executor* executor, const char* path) {
  halo_search_options search;
  halo_search_options_init(&search);
  search.k = 5;
  search.candidates = 50;
  search.refine = HALO_REFINE_AUTO;
  int64_t ids[5], again[5];
  float scores[5];
  int answer = -1;
  CHECK(halo_search(index, vectors, 1, &search, executor, ids, scores, &answer) ==
        HALO_E_NOT_PREPARED);
  CHECK(halo_refine(index, vectors, SAMPLES, executor) == HALO_OK);
  CHECK(halo_search(index, vectors, 1, &search, executor, ids, scores, &answer) == HALO_OK);
  CHECK(answer == HALO_ANSWER_WHOLE && ids[0] == 0 && scores[0] >= scores[1]);
  search.deadline_nanos = 1;
  CHECK(halo_search(index, vectors, 1, &search, executor, again, scores, &answer) == HALO_OK);
  CHECK(answer == HALO_ANSWER_NONE && again[0] == -1);
  search.deadline_nanos = 0;

  CHECK(halo_save(index, path, executor) == HALO_OK);
  halo_index* opened = NULL;
  CHECK(halo_open(path, &opened) == HALO_OK);
  CHECK(halo_size(opened) == halo_size(index));
  CHECK(halo_search(opened, vectors, 1, &search, NULL, again, scores, NULL) == HALO_OK);
  CHECK(memcmp(ids, again, sizeof(ids)) == 0);
  halo_index_destroy(opened);
  return 0;
}

static int refusals(halo_index* index) {
  float bad[DIM] = {NAN};
  int64_t id = 1000;
  CHECK(halo_add(index, bad, 1, &id) == HALO_E_NON_FINITE);
  CHECK(halo_add(NULL, bad, 1, &id) == HALO_E_INVALID_ARGUMENT);
  memset(bad, 0, sizeof(bad));
  CHECK(halo_upsert(index, bad, 1, &id) == HALO_E_ZERO_VECTOR);
  halo_search_options search;
  halo_search_options_init(&search);
  search.k = 0;
  int64_t ids[10];
  float scores[10];
  CHECK(halo_search(index, vectors, 1, &search, NULL, ids, scores, NULL) ==
        HALO_E_INVALID_ARGUMENT);
  search.struct_size = 0;
  CHECK(halo_search(index, vectors, 1, &search, NULL, ids, scores, NULL) ==
        HALO_E_INVALID_ARGUMENT);
  halo_index* none = NULL;
  CHECK(halo_open("no/such/file.halo", &none) == HALO_E_NOT_FOUND && none == NULL);
  CHECK(halo_create(0, NULL, &none) == HALO_E_INVALID_ARGUMENT);
  halo_executor* too_many = NULL;
  CHECK(halo_executor_create(100000, &too_many) == HALO_E_INVALID_ARGUMENT);
  CHECK(strcmp(halo_status_name(HALO_E_NO_SPACE), "no_space") == 0);
  CHECK(strcmp(halo_status_name(HALO_OK), "ok") == 0);
  CHECK(strcmp(halo_version(), HALO_VERSION_STRING) == 0);
  CHECK(halo_create(DIM, NULL, &none) == HALO_OK && halo_size(none) == 0);
  CHECK(halo_save(none, "empty.halo", NULL) == HALO_E_EMPTY);
  CHECK(halo_upsert(none, vectors, 3, row_ids) == HALO_OK && halo_size(none) == 3);
  halo_index_destroy(none);
  halo_index_destroy(NULL);
  halo_executor_destroy(NULL);
  return 0;
}

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : "capi_test.halo";
  fill();
  halo_executor* executor = NULL;
  CHECK(halo_executor_create(2, &executor) == HALO_OK);
  halo_index* index = NULL;
  if (build_and_search(executor, &index) != 0 || change(index) != 0 ||
      refine(index, executor, path) != 0 || refusals(index) != 0) {
    return 1;
  }
  halo_index_destroy(index);
  halo_executor_destroy(executor);
  remove(path);
  return 0;
}
