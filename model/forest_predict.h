/* Rows in, the objective's outputs out: rows one by one, or blocks of rows and threads. */
#ifndef EDGEXGB_FOREST_PREDICT_H
#define EDGEXGB_FOREST_PREDICT_H

#include "forest_threads.h"
#include "forest_transform.h"
#include "forest_walk.h"

enum {
    BLOCK_BYTES = 1 << 16, /* of a block's tiles: what stays in the cache while the trees go by */
    MAX_BLOCK_TILES = 16,
    STACK_FLOATS = 1024,
    TILES_FROM = 6, /* rows; fewer are walked one by one */
};

#define STEPS_FOR_THREADS 400000u /* a millisecond or so: a thread costs 30 µs to start */

/* --- one row after the other ------------------------------------------------------------------- */

/* False where there is no memory. */
static bool predict_rows(const struct forest *forest, const struct forest_walk *walk,
                         const float *rows, size_t n_rows, float *out)
{
    size_t n_features = forest->header.n_features, n_groups = forest->header.n_groups;
    float stack[STACK_FLOATS];
    size_t n_floats = n_features + 1 + n_groups;
    float *row = n_floats <= STACK_FLOATS ? stack : malloc(n_floats * sizeof *row);
    if (row == NULL)
        return false;
    float *sums = row + n_features + 1;
    row[n_features] = -INFINITY;
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(row, rows + r * n_features, n_features * sizeof *row);
        memcpy(sums, forest->margins, n_groups * sizeof *sums);
        walk->row(forest, row, sums);
        transform(forest, sums, 1, out + r * forest_n_outputs(forest));
    }
    if (row != stack)
        free(row);
    return true;
}

/* --- blocks of tiles --------------------------------------------------------------------------- */

struct job {
    const struct forest *forest;
    const struct forest_walk *walk;
    const float *rows;
    float *out;
    size_t n_rows, block_tiles;
    unsigned n_threads;
    atomic_size_t next; /* the first row that nobody has taken */
};

static size_t block_tiles(const struct forest *forest)
{
    size_t n = BLOCK_BYTES / ((forest->header.n_features + 1) * TILE * sizeof(float));
    return n < 1 ? 1 : n > MAX_BLOCK_TILES ? MAX_BLOCK_TILES : n;
}

/* Rows as a tile, feature by feature; lanes without a row hold zeros. Whether any is missing. */
static bool fill_tile(const float *rows, size_t n_rows, size_t n_features, float *tile)
{
    bool missing = false;
    memset(tile, 0, n_features * TILE * sizeof *tile);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t f = 0; f < n_features; f++) {
            float x = rows[r * n_features + f];
            missing |= x != x;
            tile[f * TILE + r] = x;
        }
    for (size_t r = 0; r < TILE; r++)
        tile[n_features * TILE + r] = -INFINITY;
    return missing;
}

static void predict_block(const struct job *job, const float *rows, size_t n_rows, float *tiles,
                          float *sums, float *out)
{
    const struct forest *forest = job->forest;
    size_t n_features = forest->header.n_features, n_groups = forest->header.n_groups;
    size_t n_tiles = (n_rows + TILE - 1) / TILE, n_outputs = forest_n_outputs(forest);
    bool missing = false;
    for (size_t i = 0; i < n_tiles; i++) {
        size_t left = n_rows - i * TILE;
        missing |= fill_tile(rows + i * TILE * n_features, left < TILE ? left : TILE, n_features,
                             tiles + i * (n_features + 1) * TILE);
        for (size_t j = 0; j < n_groups * TILE; j++)
            sums[i * n_groups * TILE + j] = forest->margins[j / TILE];
    }
    job->walk->tiles(forest, tiles, n_tiles, missing, sums);
    for (size_t r = 0; r < n_rows; r++)
        transform(forest, sums + r / TILE * n_groups * TILE + r % TILE, TILE, out + r * n_outputs);
}

/* Memory for one thread's tiles and sums; NULL where there is none. */
static float *open_block(const struct job *job)
{
    const struct forest *forest = job->forest;
    size_t floats = (size_t)(forest->header.n_features + 1 + forest->header.n_groups) * TILE;
    /* A multiple of 64, as a tile is. */
    return aligned_alloc(64, job->block_tiles * floats * sizeof(float));
}

/* Takes the next block and predicts it. False where none is left. */
static bool predict_next(struct job *job, float *tiles)
{
    const struct forest *forest = job->forest;
    size_t n_features = forest->header.n_features, block = job->block_tiles * TILE;
    size_t at = atomic_fetch_add(&job->next, block);
    if (at >= job->n_rows)
        return false;
    size_t n = job->n_rows - at < block ? job->n_rows - at : block;
    float *sums = tiles + job->block_tiles * (n_features + 1) * TILE;
    predict_block(job, job->rows + at * n_features, n, tiles, sums,
                  job->out + at * forest_n_outputs(forest));
    return true;
}

/* --- helpers ----------------------------------------------------------------------------------- */

struct helpers {
    pthread_t threads[MAX_THREADS];
    unsigned n;
};

/* A helper, which was counted when it was asked. Without memory it leaves all to the others. */
static void *help(void *argument)
{
    struct job *job = argument;
    float *tiles = open_block(job);
    while (tiles != NULL && !threads_crowded(job->n_threads) && predict_next(job, tiles))
        ;
    free(tiles);
    threads_leave();
    return NULL;
}

/* Whether what nobody has taken is worth a thread, besides the block that the caller takes now. */
static bool needs_help(struct job *job)
{
    size_t at = atomic_load(&job->next) + job->block_tiles * TILE;
    return at < job->n_rows && (job->n_rows - at) * job->forest->steps >= STEPS_FOR_THREADS / 2;
}

static void find_helpers(struct job *job, struct helpers *helpers)
{
    while (helpers->n < MAX_THREADS && needs_help(job) && threads_join(job->n_threads)) {
        if (pthread_create(&helpers->threads[helpers->n], NULL, help, job) != 0) {
            threads_leave();
            return;
        }
        helpers->n++;
    }
}

/* The caller's own part. It asks for helpers again with each block: other callers may have gone. */
static void predict_with_helpers(struct job *job, float *tiles)
{
    struct helpers helpers = {.n = 0};
    do
        find_helpers(job, &helpers);
    while (predict_next(job, tiles));
    threads_leave();
    while (helpers.n > 0)
        pthread_join(helpers.threads[--helpers.n], NULL);
}

static bool predict_large(struct job *job)
{
    size_t tiles = (job->n_rows + TILE - 1) / TILE, n = threads_enter(job->n_threads);
    size_t share = (tiles + n - 1) / n;
    if (job->block_tiles > share)
        job->block_tiles = share; /* so that each thread has a block */
    float *block = open_block(job);
    if (block == NULL) {
        threads_leave();
        return false;
    }
    predict_with_helpers(job, block);
    free(block);
    return true;
}

static bool predict_small(struct job *job)
{
    size_t tiles = (job->n_rows + TILE - 1) / TILE;
    if (job->block_tiles > tiles)
        job->block_tiles = tiles;
    float *block = open_block(job);
    while (block != NULL && predict_next(job, block))
        ;
    free(block);
    return block != NULL;
}

/* The outputs, (n_rows, n_outputs), of rows, (n_rows, n_features). False where there is no memory.
 */
static bool forest_predict(const struct forest *forest, const struct forest_walk *walk,
                           const float *rows, size_t n_rows, unsigned n_threads, float *out)
{
    if (n_rows < TILES_FROM)
        return predict_rows(forest, walk, rows, n_rows, out);
    struct job job = {.forest = forest,
                      .walk = walk,
                      .rows = rows,
                      .out = out,
                      .n_rows = n_rows,
                      .block_tiles = block_tiles(forest),
                      .n_threads = n_threads > MAX_THREADS ? MAX_THREADS : n_threads};
    atomic_init(&job.next, 0);
    bool large = forest->steps * n_rows >= STEPS_FOR_THREADS;
    return large ? predict_large(&job) : predict_small(&job);
}

#endif
