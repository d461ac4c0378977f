/* Sixteen walks in a register. See forest_walk.h. */
#ifndef EDGEXGB_FOREST_WALK_AVX512_H
#define EDGEXGB_FOREST_WALK_AVX512_H

#include <immintrin.h>

#define IN_AVX512 __attribute__((always_inline, target("avx512f"))) static inline

struct nodes512 {
    __m512i value, packed;
};

/* Nodes from two registers of pairs: the even 32 bits are values, the odd ones the rest. */
IN_AVX512 struct nodes512 split512(__m512i low, __m512i high)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    return (struct nodes512){_mm512_permutex2var_epi32(low, even, high),
                             _mm512_permutex2var_epi32(low, odd, high)};
}

IN_AVX512 struct nodes512 gather512(const struct forest_node *nodes, __m512i at)
{
    __m512i low = _mm512_i32gather_epi64(_mm512_castsi512_si256(at), nodes, 8);
    __m512i high = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(at, 1), nodes, 8);
    return split512(low, high);
}

/* The first 32 nodes of a tree: its first five levels. */
struct top512 {
    struct nodes512 low, high;
};

IN_AVX512 struct top512 load_top512(const struct forest_node *nodes)
{
    const __m512i *lines = (const __m512i *)nodes;
    return (struct top512){split512(_mm512_loadu_si512(lines), _mm512_loadu_si512(lines + 1)),
                           split512(_mm512_loadu_si512(lines + 2), _mm512_loadu_si512(lines + 3))};
}

IN_AVX512 struct nodes512 look_up512(struct top512 top, __m512i at)
{
    return (struct nodes512){_mm512_permutex2var_epi32(top.low.value, at, top.high.value),
                             _mm512_permutex2var_epi32(top.low.packed, at, top.high.packed)};
}

/* Which lanes' categories are in their nodes' sets. `indexed` are the lanes of trees that hold
 * their sets in the words. */
IN_AVX512 __mmask16 in_sets512(const uint32_t *words, __m512i value, int sets, __mmask16 categorical,
                               __mmask16 indexed, __m512 x)
{
    const __m512i one = _mm512_set1_epi32(1);
    /* Rounded down, so that -0.5 is no category; what is out of range becomes 2^31, none either. */
    __m512i category =
        _mm512_cvt_roundps_epi32(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __mmask16 inside = _mm512_test_epi32_mask(_mm512_srlv_epi32(value, category), one);
    if (sets == FOREST_INLINE_SETS)
        return inside & categorical;
    indexed &= categorical;
    const __m512i none = _mm512_setzero_si512();
    __m512i size = _mm512_mask_i32gather_epi32(none, indexed, value, words, 4);
    __m512i word = _mm512_srli_epi32(category, 5);
    __mmask16 known = _mm512_mask_cmp_epu32_mask(indexed, word, size, _MM_CMPINT_LT);
    known = _mm512_mask_cmp_epu32_mask(known, category, _mm512_set1_epi32(1 << 24), _MM_CMPINT_LT);
    __m512i place = _mm512_add_epi32(_mm512_add_epi32(value, one), word);
    __m512i bits = _mm512_mask_i32gather_epi32(none, known, place, words, 4);
    __m512i bit = _mm512_and_si512(category, _mm512_set1_epi32(31));
    __mmask16 found = _mm512_test_epi32_mask(_mm512_srlv_epi32(bits, bit), one);
    return (inside & categorical & ~indexed) | (found & known);
}

/* The next nodes, within their trees. */
IN_AVX512 __m512i step512(const uint32_t *words, struct nodes512 node, int sets, __mmask16 indexed,
                          __m512 x, bool missing)
{
    __mmask16 right = _mm512_cmp_ps_mask(x, _mm512_castsi512_ps(node.value), _CMP_NLT_UQ);
    if (sets != FOREST_NO_SETS) {
        __mmask16 categorical = _mm512_cmplt_epi32_mask(node.packed, _mm512_setzero_si512());
        __mmask16 inside = in_sets512(words, node.value, sets, categorical, indexed, x);
        right = (right & ~categorical) | inside;
    }
    if (missing) {
        __mmask16 absent = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
        __mmask16 default_right =
            _mm512_testn_epi32_mask(node.packed, _mm512_set1_epi32(FOREST_DEFAULT_LEFT));
        right = (right & ~absent) | (absent & default_right);
    }
    __m512i left = _mm512_and_si512(node.packed, _mm512_set1_epi32(FOREST_CHILD_MASK));
    return _mm512_mask_add_epi32(left, right, left, _mm512_set1_epi32(1));
}

/* --- one row ----------------------------------------------------------------------------------- */

enum { BUNCHES512 = 4 }; /* registers of 16 trees in flight */

ALWAYS_INLINE __attribute__((target("avx512f"))) void row_sets512(const struct forest *forest,
                                                                   const float *row, float *sums,
                                                                   int sets)
{
    const __m512i feature_mask = _mm512_set1_epi32(FOREST_FEATURE_MASK);
    const struct forest_tree *trees = forest->trees;
    uint32_t n_trees = forest->header.n_trees;
    for (uint32_t t = 0; t < n_trees; t += BUNCHES512 * 16) {
        uint32_t n = n_trees - t < BUNCHES512 * 16 ? n_trees - t : BUNCHES512 * 16;
        uint32_t first[BUNCHES512 * 16] __attribute__((aligned(64)));
        float leaves[BUNCHES512 * 16] __attribute__((aligned(64)));
        __mmask16 indexed[BUNCHES512] = {0};
        __m512i base[BUNCHES512], at[BUNCHES512];
        uint32_t depth = 0;
        for (uint32_t k = 0; k < BUNCHES512 * 16; k++) {
            const struct forest_tree *tree = &trees[t + (k < n ? k : 0)];
            first[k] = tree->first;
            depth = tree->depth > depth ? tree->depth : depth;
            if (sets == FOREST_INDEXED_SETS && tree->sets == FOREST_INDEXED_SETS)
                indexed[k / 16] |= (__mmask16)(1u << k % 16);
        }
        uint32_t bunches = (n + 15) / 16;
        for (uint32_t b = 0; b < BUNCHES512; b++) {
            base[b] = _mm512_load_si512(first + b * 16);
            at[b] = _mm512_add_epi32(base[b], _mm512_set1_epi32(FOREST_ROOT));
        }
        for (uint32_t d = 0; d < depth; d++)
            for (uint32_t b = 0; b < BUNCHES512; b++) {
                if (b >= bunches)
                    break;
                struct nodes512 node = gather512(forest->nodes, at[b]);
                __m512i feature = _mm512_and_si512(
                    _mm512_srli_epi32(node.packed, FOREST_FEATURE_SHIFT), feature_mask);
                __m512 x = _mm512_i32gather_ps(feature, row, 4);
                __m512i next = step512(forest->words, node, sets, indexed[b], x, true);
                at[b] = _mm512_add_epi32(base[b], next);
            }
        for (uint32_t b = 0; b < bunches; b++)
            _mm512_store_ps(leaves + b * 16, _mm512_i32gather_ps(at[b], forest->nodes, 8));
        for (uint32_t k = 0; k < n; k++)
            sums[trees[t + k].group] += leaves[k];
    }
}

__attribute__((target("avx512f"))) static void row512(const struct forest *forest, const float *row,
                                                      float *sums)
{
    if (forest->sets == FOREST_NO_SETS)
        row_sets512(forest, row, sums, FOREST_NO_SETS);
    else if (forest->sets == FOREST_INLINE_SETS)
        row_sets512(forest, row, sums, FOREST_INLINE_SETS);
    else
        row_sets512(forest, row, sums, FOREST_INDEXED_SETS);
}

/* --- tiles ------------------------------------------------------------------------------------- */

enum {
    TOP512 = 5,      /* levels that are looked up in registers */
    TOGETHER512 = 2, /* tiles in flight, so that one's arithmetic fills the other's waits */
};

/* One tree over `n` tiles, a number that the compiler knows. */
ALWAYS_INLINE __attribute__((target("avx512f"))) void
some_tiles512(const struct forest *forest, const struct forest_node *nodes, uint32_t depth,
              struct top512 top, int sets, bool missing, const float *tiles, size_t tile_floats,
              size_t n, float *sums, size_t sums_floats)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i feature_mask = _mm512_set1_epi32(FOREST_FEATURE_MASK << 4);
    const __m512i start = _mm512_set1_epi32(FOREST_ROOT);
    const size_t root = forest_feature(nodes[FOREST_ROOT].packed) * TILE;
    __m512i at[TOGETHER512];
    for (size_t k = 0; k < n; k++) { /* the root's feature is the same in all lanes */
        __m512 x = _mm512_loadu_ps(tiles + k * tile_floats + root);
        at[k] = step512(forest->words, look_up512(top, start), sets, 0xffff, x, missing);
    }
    for (uint32_t d = 1; d < depth; d++)
        for (size_t k = 0; k < n; k++) {
            struct nodes512 node = d < TOP512 ? look_up512(top, at[k]) : gather512(nodes, at[k]);
            /* Shifted by 16 - 4: times 16, as there are rows in a tile. */
            __m512i place = _mm512_or_si512(
                _mm512_and_si512(_mm512_srli_epi32(node.packed, FOREST_FEATURE_SHIFT - 4),
                                 feature_mask),
                lane);
            __m512 x = _mm512_i32gather_ps(place, tiles + k * tile_floats, 4);
            at[k] = step512(forest->words, node, sets, 0xffff, x, missing);
        }
    for (size_t k = 0; k < n; k++) {
        __m512 leaf = depth < TOP512 ? _mm512_castsi512_ps(look_up512(top, at[k]).value)
                                     : _mm512_i32gather_ps(at[k], nodes, 8);
        float *out = sums + k * sums_floats;
        _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), leaf));
    }
}

ALWAYS_INLINE __attribute__((target("avx512f"))) void
tree_tiles512(const struct forest *forest, const struct forest_tree *tree, int sets, bool missing,
              const float *tiles, size_t tile_floats, size_t n_tiles, float *sums,
              size_t sums_floats)
{
    const struct forest_node *nodes = forest->nodes + tree->first;
    const struct top512 top = load_top512(nodes);
    size_t i = 0;
    for (; i + TOGETHER512 <= n_tiles; i += TOGETHER512)
        some_tiles512(forest, nodes, tree->depth, top, sets, missing, tiles + i * tile_floats,
                      tile_floats, TOGETHER512, sums + i * sums_floats, sums_floats);
    for (; i < n_tiles; i++)
        some_tiles512(forest, nodes, tree->depth, top, sets, missing, tiles + i * tile_floats,
                      tile_floats, 1, sums + i * sums_floats, sums_floats);
}

__attribute__((target("avx512f"))) static void tiles512(const struct forest *forest,
                                                        const float *tiles, size_t n_tiles,
                                                        bool missing, float *sums)
{
    WALK_TILES(tree_tiles512)
}

static const struct forest_walk AVX512 = {"avx512", row512, tiles512};

#endif
