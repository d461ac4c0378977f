/* Rows in, the objective's outputs out: blocks of rows, threads, transforms. */
#ifndef EDGEXGB_FOREST_PREDICT_H
#define EDGEXGB_FOREST_PREDICT_H

#include <pthread.h>
#include <stdatomic.h>

#include "forest_walk.h"

enum {
    BLOCK_BYTES = 1 << 16, /* of a block's tiles: what stays in the cache while the trees go by */
    MAX_BLOCK_TILES = 16,
    MAX_THREADS = 64,
    STACK_FLOATS = 1024,
    TILES_FROM = 6, /* rows; fewer are walked one by one */
};

#define STEPS_FOR_THREADS 400000u /* a millisecond or so: a thread costs 30 µs to start */

/* --- transforms -------------------------------------------------------------------------------- */

/* Source: xgboost 3.2, src/common/math.h, `Sigmoid`. */
static float sigmoid(float x)
{
    float y = -x < 88.7f ? -x : 88.7f;
    return 1.0f / (expf(y) + 1.0f + 1e-16f);
}

/* Source: xgboost 3.2, src/common/math.h, `Softmax`. */
static void softmax(const float *sums, size_t stride, size_t n, float *out)
{
    float largest = sums[0];
    for (size_t g = 1; g < n; g++)
        largest = fmaxf(sums[g * stride], largest);
    double total = 0.0;
    for (size_t g = 0; g < n; g++) {
        out[g] = expf(sums[g * stride] - largest);
        total += out[g];
    }
    for (size_t g = 0; g < n; g++)
        out[g] /= (float)total;
}

/* Source: xgboost 3.2, src/common/math.h, `FindMaxIndex`. */
static float argmax(const float *sums, size_t stride, size_t n)
{
    size_t best = 0;
    for (size_t g = 1; g < n; g++)
        if (sums[g * stride] > sums[best * stride])
            best = g;
    return (float)best;
}

/* One row's outputs from its sums, which stand `stride` apart. */
static void transform(const struct forest *forest, const float *sums, size_t stride, float *out)
{
    switch (forest->header.transform) {
        case FOREST_SIGMOID: out[0] = sigmoid(sums[0]); break;
        case FOREST_SOFTMAX: softmax(sums, stride, forest->header.n_groups, out); break;
        case FOREST_ARGMAX: out[0] = argmax(sums, stride, forest->header.n_groups); break;
        case FOREST_EXP: out[0] = expf(sums[0]); break;
        case FOREST_HINGE: out[0] = sums[0] > 0.0f ? 1.0f : 0.0f; break;
        default: out[0] = sums[0]; break;
    }
}

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
    atomic_size_t next; /* the first row that nobody has taken */
    atomic_bool failed;
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

static void *predict_blocks(void *argument)
{
    struct job *job = argument;
    const struct forest *forest = job->forest;
    size_t tile_floats = (size_t)(forest->header.n_features + 1) * TILE;
    size_t sums_floats = (size_t)forest->header.n_groups * TILE;
    size_t room = job->block_tiles * (tile_floats + sums_floats) * sizeof(float);
    float *tiles = aligned_alloc(64, room); /* a multiple of 64, as a tile is */
    if (tiles == NULL) {
        atomic_store(&job->failed, true);
        return NULL;
    }
    float *sums = tiles + job->block_tiles * tile_floats;
    size_t block = job->block_tiles * TILE, at;
    while ((at = atomic_fetch_add(&job->next, block)) < job->n_rows) {
        size_t n = job->n_rows - at < block ? job->n_rows - at : block;
        predict_block(job, job->rows + at * forest->header.n_features, n, tiles, sums,
                      job->out + at * forest_n_outputs(forest));
    }
    free(tiles);
    return NULL;
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
                      .block_tiles = block_tiles(forest)};
    atomic_init(&job.next, 0);
    atomic_init(&job.failed, false);
    size_t tiles = (n_rows + TILE - 1) / TILE;
    if (forest->steps * n_rows < STEPS_FOR_THREADS)
        n_threads = 1;
    if (n_threads > MAX_THREADS)
        n_threads = MAX_THREADS;
    size_t share = (tiles + n_threads - 1) / n_threads; /* so that each thread has a block */
    if (job.block_tiles > share)
        job.block_tiles = share;
    pthread_t threads[MAX_THREADS];
    unsigned started = 0;
    while (started + 1 < n_threads && (started + 1) * job.block_tiles < tiles &&
           pthread_create(&threads[started], NULL, predict_blocks, &job) == 0)
        started++;
    predict_blocks(&job);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    return !atomic_load(&job.failed);
}

#endif
