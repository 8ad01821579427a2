/* halo for C, and for whatever calls C: build, search, refine and change an index.
 *
 * Every function that can fail returns 0 (HALO_OK) or the number of an error (the HALO_E_* below,
 * the same as halo::ErrorCode's); halo_last_error() then says what was wrong, on the same thread,
 * until the next call. Nothing is thrown across this interface. What failed changed nothing.
 *
 * Thread-safety: an index and an executor may be used by any number of threads at once; searches
 * never wait for writers. Destroying one must exclude every other use of it.
 *
 * Threads: halo starts none of its own. A call runs on the executor it is given, NULL: on the
 * calling thread alone.
 *
 * Matrices are row-major float32, rows x dim, without padding. Options structs are initialised by
 * their *_init function, which also notes the size this program was compiled with, so that a later
 * version can add fields.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct halo_index halo_index;
typedef struct halo_executor halo_executor;

enum halo_status {
  HALO_OK = 0,
  HALO_E_INVALID_ARGUMENT = 1,
  HALO_E_DIMENSION_MISMATCH = 2,
  HALO_E_NON_FINITE = 3,
  HALO_E_ZERO_VECTOR = 4,
  HALO_E_EMPTY = 5,
  HALO_E_UNKNOWN_ID = 6,
  HALO_E_DUPLICATE_ID = 7,
  HALO_E_IO = 8,
  HALO_E_NO_SPACE = 9,
  HALO_E_CORRUPT = 10,
  HALO_E_UNSUPPORTED_FORMAT = 11,
  HALO_E_NOT_PREPARED = 12,
  HALO_E_MODEL_MISMATCH = 13,
  HALO_E_CANCELLED = 14,
  HALO_E_OUT_OF_MEMORY = 15,
  HALO_E_NOT_FOUND = 16,
  HALO_E_INTERNAL = 17,
  HALO_E_NO_GAIN = 18,
  HALO_E_MEMORY_LIMIT = 19
};

enum halo_metric { HALO_METRIC_L2 = 1, HALO_METRIC_INNER_PRODUCT = 2, HALO_METRIC_COSINE = 3 };

enum halo_refine_mode { HALO_REFINE_OFF = 0, HALO_REFINE_AUTO = 1, HALO_REFINE_TRAINED = 2 };

/* What became of a query. */
enum halo_answer {
  HALO_ANSWER_WHOLE = 0,
  HALO_ANSWER_PLAIN = 1, /* the deadline passed before it was refined: the plain order */
  HALO_ANSWER_NONE = 2   /* the deadline passed before it was searched: no results */
};

/* Of the library that is linked, "0.1.0"; HALO_VERSION_* in halo/core/version.h are the headers'.
 */
const char* halo_version(void);
/* The name of a status, "dimension_mismatch"; "ok" for 0. */
const char* halo_status_name(int status);
/* What the last failed call of this thread said; "" where none failed. Valid until the next call.
 */
const char* halo_last_error(void);

/* Threads for the calls that take an executor: `threads` of them, 0 for every core. */
int halo_executor_create(size_t threads, halo_executor** executor);
void halo_executor_destroy(halo_executor* executor); /* NULL is fine */

typedef struct halo_build_options {
  size_t struct_size;
  int metric;             /* halo_metric; HALO_METRIC_L2 */
  size_t M;               /* links a vector gets per layer, 2 to 256; 16 */
  size_t ef_construction; /* candidates looked at while linking; 200 */
  uint64_t seed;          /* 100 */
} halo_build_options;
void halo_build_options_init(halo_build_options* options);

/* An empty index. `options` NULL: the defaults. */
int halo_create(size_t dim, const halo_build_options* options, halo_index** index);
/* An index of `rows` vectors under `ids` (NULL: row numbers), built on the executor. */
int halo_build(const float* vectors, size_t rows, size_t dim, const int64_t* ids,
               const halo_build_options* options, const halo_executor* executor,
               halo_index** index);
int halo_open(const char* path, halo_index** index);
/* Settles (below) and writes a file: afterwards `path` holds all of the index, or on any error what
 * it held before. HALO_E_EMPTY where nothing lives. */
int halo_save(halo_index* index, const char* path, const halo_executor* executor);
void halo_index_destroy(halo_index* index); /* NULL is fine */

size_t halo_size(const halo_index* index);
size_t halo_dim(const halo_index* index);
/* 1 where the id lives, 0 where it does not. */
int halo_contains(const halo_index* index, int64_t id);
/* Copies the vector as stored (of unit length under cosine) to vector[dim]. */
int halo_get_vector(const halo_index* index, int64_t id, float* vector);

/* All or nothing. add: new ids; update: living ids; upsert: either; remove: living ids. */
int halo_add(halo_index* index, const float* vectors, size_t rows, const int64_t* ids);
int halo_update(halo_index* index, const float* vectors, size_t rows, const int64_t* ids);
int halo_upsert(halo_index* index, const float* vectors, size_t rows, const int64_t* ids);
int halo_remove(halo_index* index, const int64_t* ids, size_t count);

/* Folds what was written into the graph, and prepares refinement again where there was any;
 * searches and writes go on meanwhile. Call it now and then, when a tenth of the index has changed,
 * say. */
int halo_settle(halo_index* index, const halo_executor* executor);
/* Settles, and prepares refinement. `sample_queries` (rows x dim, 50 or more; NULL: none) are
 * queries like those to come: batches of fewer than 50 queries are then refined as much as suits
 * those. */
int halo_refine(halo_index* index, const float* sample_queries, size_t rows,
                const halo_executor* executor);

typedef struct halo_search_options {
  size_t struct_size;
  size_t k;                /* results a query; 10 */
  size_t ef;               /* candidates kept while walking the graph; 64 */
  int refine;              /* halo_refine_mode; HALO_REFINE_OFF */
  size_t candidates;       /* what refinement starts from, at least k; 400 */
  uint64_t deadline_nanos; /* from the call; what has not begun by then is left out; 0: none */
  /* Non-zero where the id may be a result; called by the searching threads; NULL: all may. */
  int (*filter)(int64_t id, void* user);
  void* user;
} halo_search_options;
void halo_search_options_init(halo_search_options* options);

/* Answers `rows` queries: ids[rows x k], best first, -1 where fewer were found; scores[rows x k]:
 * distances (smaller is nearer) without refinement, fused scores (larger is better) with it.
 * answers[rows] (halo_answer) may be NULL. `options` NULL: the defaults. */
int halo_search(const halo_index* index, const float* queries, size_t rows,
                const halo_search_options* options, const halo_executor* executor, int64_t* ids,
                float* scores, int* answers);

#ifdef __cplusplus
}
#endif
