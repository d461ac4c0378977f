/* Walks through the trees: plain C for every machine, AVX2, AVX-512 or NEON where it has them.
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
ALWAYS_INLINE size_t step(const struct forest_node *nodes, const uint32_t *words, int sets,
                          const float *values, size_t stride, size_t i, bool missing)
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
    return (size_t)(node.packed & FOREST_CHILD_MASK) + right;
}

enum { ABREAST = 8 }; /* walks in flight */

/* Unrolled, so that where each walk stands is in a register. */
#define FOR_ABREAST(k) _Pragma("GCC unroll 8") for (uint32_t k = 0; k < ABREAST; k++)

/* Trees that are walked at once; where there are fewer, the first stands for the others. */
struct bunch {
    const struct forest_node *nodes[ABREAST];
    int sets[ABREAST], most; /* how they hold their sets, and the most demanding way of them */
    uint32_t depth;
};

ALWAYS_INLINE struct bunch plain_bunch(const struct forest *forest, const struct forest_tree *trees,
                                       uint32_t n)
{
    struct bunch bunch = {.most = FOREST_NO_SETS};
    FOR_ABREAST(k)
    {
        const struct forest_tree *tree = &trees[k < n ? k : 0];
        bunch.nodes[k] = forest->nodes + tree->first;
        bunch.sets[k] = tree->sets;
        bunch.most = tree->sets > bunch.most ? tree->sets : bunch.most;
        bunch.depth = tree->depth > bunch.depth ? tree->depth : bunch.depth;
    }
    return bunch;
}

/* The leaves' values. A tree without sets can be walked as if they were inline; only inline and
 * indexed ones have to be told apart. */
ALWAYS_INLINE void plain_leaves(const struct forest *forest, const struct bunch *bunch, int most,
                                const float *row, bool missing, uint32_t *leaves)
{
    const struct forest_node *nodes[ABREAST];
    size_t at[ABREAST];
    FOR_ABREAST(k)
    {
        nodes[k] = bunch->nodes[k];
        at[k] = FOREST_ROOT;
    }
    for (uint32_t d = bunch->depth; d > 0; d--)
        FOR_ABREAST(k)
        {
            int sets = most == FOREST_INDEXED_SETS ? bunch->sets[k] : most;
            at[k] = step(nodes[k], forest->words, sets, row, 1, at[k], missing);
        }
    FOR_ABREAST(k) leaves[k] = nodes[k][at[k]].value;
}

ALWAYS_INLINE void plain_row_missing(const struct forest *forest, const float *row, bool missing,
                                     float *sums)
{
    const struct forest_tree *trees = forest->trees;
    uint32_t n_trees = forest->header.n_trees;
    for (uint32_t t = 0; t < n_trees; t += ABREAST) {
        uint32_t n = n_trees - t < ABREAST ? n_trees - t : ABREAST, leaves[ABREAST];
        const struct bunch bunch = plain_bunch(forest, trees + t, n);
        if (bunch.most == FOREST_NO_SETS)
            plain_leaves(forest, &bunch, FOREST_NO_SETS, row, missing, leaves);
        else if (bunch.most == FOREST_INLINE_SETS)
            plain_leaves(forest, &bunch, FOREST_INLINE_SETS, row, missing, leaves);
        else
            plain_leaves(forest, &bunch, FOREST_INDEXED_SETS, row, missing, leaves);
        for (uint32_t k = 0; k < n; k++)
            sums[trees[t + k].group] += forest_float(leaves[k]);
    }
}

static void plain_row(const struct forest *forest, const float *row, float *sums)
{
    bool missing = false;
    for (uint32_t f = 0; f < forest->header.n_features; f++)
        missing |= row[f] != row[f];
    if (missing)
        plain_row_missing(forest, row, true, sums);
    else
        plain_row_missing(forest, row, false, sums);
}

/* A tile's rows through `depth` levels of a tree, each row from its own node. */
ALWAYS_INLINE void plain_tree_from(const struct forest *forest, const struct forest_node *nodes,
                                   const uint8_t *from, uint32_t depth, int sets, const float *tile,
                                   bool missing, float *sums)
{
    for (uint32_t r = 0; r < TILE; r += ABREAST) {
        size_t at[ABREAST];
        FOR_ABREAST(k) at[k] = from[r + k];
        for (uint32_t d = 0; d < depth; d++)
            FOR_ABREAST(k)
            {
                at[k] = step(nodes, forest->words, sets, tile + r + k, TILE, at[k], missing);
            }
        FOR_ABREAST(k) sums[r + k] += forest_float(nodes[at[k]].value);
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
    uint8_t roots[TILE];
    memset(roots, FOREST_ROOT, sizeof roots);
    const struct forest_node *nodes = forest->nodes + tree->first;
    for (size_t i = 0; i < n_tiles; i++, tile += tile_floats, sums += sums_floats)
        plain_tree_from(forest, nodes, roots, tree->depth, sets, tile, missing, sums);
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

#if defined(__aarch64__) && defined(__ARM_NEON)
#define FOREST_NEON 1
#include "forest_walk_neon.h"
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
#ifdef FOREST_NEON
    walks[n++] = &NEON;
#endif
    walks[n++] = &PLAIN;
    return n;
}

#endif
