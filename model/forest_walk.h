/* Walks through the trees: plain C for every machine, AVX2 and AVX-512 where the machine has them.
 *
 * A walk takes as many steps as its tree is deep and never asks whether it has arrived: a leaf
 * compares the pseudo-feature one past the last, which is -inf in every row, with its own finite
 * value, and so goes left, to itself.
 *
 * Two shapes. `*_row` takes one row through many trees at once, so that the waits for memory
 * overlap. `*_tiles` takes one tree at a time for tiles of 16 rows, whose values stand feature by
 * feature: value f of row r is at [f * 16 + r]. Either adds leaves in the order of the trees, in
 * float32, as XGBoost does; so all give the same bits.
 *
 * Source: xgboost 3.2, src/predictor/predict_fn.h (`GetNextNode`), src/common/categorical.h
 * (`Decision`).
 */
#ifndef EDGEXGB_FOREST_WALK_H
#define EDGEXGB_FOREST_WALK_H

#include "forest_core.h"

enum { TILE = 16 };

struct forest_walk {
    const char *name;
    void (*row)(const struct forest *, const float *row, float *sums);
    void (*tiles)(const struct forest *, const float *tiles, size_t n_tiles, bool missing,
                  float *sums /* (n_tiles, n_groups, 16) */);
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* --- plain C ----------------------------------------------------------------------------------- */

/* Whether a category is in an inline set, as 0 or 1. What depends on data is arithmetic here and in
 * `step`, not a branch, which would be guessed wrong too often. */
ALWAYS_INLINE uint32_t in_inline_set(uint32_t set, float x)
{
    int32_t bits, limit; /* as whole numbers, floats above zero have the same order */
    const float beyond = 32.0f;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&limit, &beyond, sizeof limit);
    bits = bits > 0 ? bits : 0;
    bits = bits < limit ? bits : limit; /* NaN is beyond, too */
    return (uint32_t)((uint64_t)set >> (uint32_t)forest_float((uint32_t)bits)) & (x >= 0.0f);
}

ALWAYS_INLINE uint32_t in_indexed_set(const uint32_t *set, float x)
{
    if (!(x >= 0.0f && x < 16777216.0f))
        return 0;
    uint32_t category = (uint32_t)x;
    return category / 32 < set[0] ? set[1 + category / 32] >> category % 32 & 1 : 0;
}

/* The next node; `stride` is the distance of two features' values. */
ALWAYS_INLINE uint32_t step(const struct forest_node *nodes, const uint32_t *words, int sets,
                            const float *values, uint32_t stride, uint32_t i, bool missing)
{
    struct forest_node node = nodes[i];
    float x = values[forest_feature(node.packed) * stride];
    uint32_t right = !(x < forest_float(node.value));
    uint32_t categorical = node.packed >> 31;
    if (sets == FOREST_INLINE_SETS)
        right = (right & ~categorical) | (in_inline_set(node.value, x) & categorical);
    else if (sets == FOREST_INDEXED_SETS && categorical)
        right = in_indexed_set(words + node.value, x);
    if (missing) {
        uint32_t absent = x != x;
        right = (right & ~absent) | (absent & ~node.packed >> 30);
    }
    return (node.packed & FOREST_CHILD_MASK) + right;
}

enum { ABREAST = 8 }; /* walks in flight */

/* `most` is the most demanding of all trees' ways to hold sets. One without sets can be walked as
 * if they were inline; only inline and indexed ones have to be told apart. */
ALWAYS_INLINE void plain_row_sets(const struct forest *forest, const float *row, float *sums,
                                  int most)
{
    const struct forest_tree *trees = forest->trees;
    uint32_t n_trees = forest->header.n_trees;
    for (uint32_t t = 0; t < n_trees; t += ABREAST) {
        uint32_t n = n_trees - t < ABREAST ? n_trees - t : ABREAST;
        const struct forest_node *nodes[ABREAST];
        uint32_t at[ABREAST], depth = 0;
        int sets[ABREAST];
        for (uint32_t k = 0; k < ABREAST; k++) {
            const struct forest_tree *tree = &trees[t + (k < n ? k : 0)];
            nodes[k] = forest->nodes + tree->first;
            at[k] = FOREST_ROOT;
            sets[k] = most == FOREST_INDEXED_SETS ? tree->sets : most;
            depth = tree->depth > depth ? tree->depth : depth;
        }
        for (uint32_t d = 0; d < depth; d++)
            for (uint32_t k = 0; k < ABREAST; k++)
                at[k] = step(nodes[k], forest->words, sets[k], row, 1, at[k], true);
        for (uint32_t k = 0; k < n; k++)
            sums[trees[t + k].group] += forest_float(nodes[k][at[k]].value);
    }
}

static void plain_row(const struct forest *forest, const float *row, float *sums)
{
    if (forest->sets == FOREST_NO_SETS)
        plain_row_sets(forest, row, sums, FOREST_NO_SETS);
    else if (forest->sets == FOREST_INLINE_SETS)
        plain_row_sets(forest, row, sums, FOREST_INLINE_SETS);
    else
        plain_row_sets(forest, row, sums, FOREST_INDEXED_SETS);
}

ALWAYS_INLINE void plain_tree(const struct forest *forest, const struct forest_tree *tree, int sets,
                              const float *tile, bool missing, float *sums)
{
    const struct forest_node *nodes = forest->nodes + tree->first;
    for (uint32_t r = 0; r < TILE; r += ABREAST) {
        uint32_t at[ABREAST];
        for (uint32_t k = 0; k < ABREAST; k++)
            at[k] = FOREST_ROOT;
        for (uint32_t d = 0; d < tree->depth; d++)
            for (uint32_t k = 0; k < ABREAST; k++)
                at[k] = step(nodes, forest->words, sets, tile + r + k, TILE, at[k], missing);
        for (uint32_t k = 0; k < ABREAST; k++)
            sums[r + k] += forest_float(nodes[at[k]].value);
    }
}

/* Every tree over every tile, with the question of sets and missing values asked once a tree. */
#define WALK_TILES(tree_walk)                                                                      \
    size_t tile_floats = (size_t)(forest->header.n_features + 1) * TILE;                           \
    size_t n_groups = forest->header.n_groups;                                                     \
    for (uint32_t t = 0; t < forest->header.n_trees; t++) {                                        \
        const struct forest_tree *tree = &forest->trees[t];                                        \
        const float *tile = tiles;                                                                 \
        float *out = sums + (size_t)tree->group * TILE;                                            \
        switch (tree->sets * 2 + missing) {                                                        \
            CASE_TILES(tree_walk, FOREST_NO_SETS, false)                                           \
            CASE_TILES(tree_walk, FOREST_NO_SETS, true)                                            \
            CASE_TILES(tree_walk, FOREST_INLINE_SETS, false)                                       \
            CASE_TILES(tree_walk, FOREST_INLINE_SETS, true)                                        \
            CASE_TILES(tree_walk, FOREST_INDEXED_SETS, false)                                      \
            CASE_TILES(tree_walk, FOREST_INDEXED_SETS, true)                                       \
        }                                                                                          \
    }

#define CASE_TILES(tree_walk, sets, missing)                                                       \
    case (sets) * 2 + (missing):                                                                   \
        tree_walk(forest, tree, sets, missing, tile, tile_floats, n_tiles, out, n_groups * TILE);  \
        break;

ALWAYS_INLINE void plain_tree_tiles(const struct forest *forest, const struct forest_tree *tree,
                                    int sets, bool missing, const float *tile, size_t tile_floats,
                                    size_t n_tiles, float *sums, size_t sums_floats)
{
    for (size_t i = 0; i < n_tiles; i++)
        plain_tree(forest, tree, sets, tile + i * tile_floats, missing, sums + i * sums_floats);
}

static void plain_tiles(const struct forest *forest, const float *tiles, size_t n_tiles, bool missing,
                        float *sums)
{
    WALK_TILES(plain_tree_tiles)
}

static const struct forest_walk PLAIN = {"plain", plain_row, plain_tiles};

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FOREST_X86 1
#include "forest_walk_avx2.h"
#include "forest_walk_avx512.h"
#endif

/* The walks that this machine can do, the best one first, and how many. */
static size_t forest_walks(const struct forest_walk **walks)
{
    size_t n = 0;
#ifdef FOREST_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f"))
        walks[n++] = &AVX512;
    if (__builtin_cpu_supports("avx2"))
        walks[n++] = &AVX2;
#endif
    walks[n++] = &PLAIN;
    return n;
}

#endif
