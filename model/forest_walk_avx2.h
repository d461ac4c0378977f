/* Eight walks in a register. See forest_walk.h. */
#ifndef EDGEXGB_FOREST_WALK_AVX2_H
#define EDGEXGB_FOREST_WALK_AVX2_H

#include <immintrin.h>

#define IN_AVX2 __attribute__((always_inline, target("avx2"))) static inline

struct nodes256 {
    __m256i value, packed;
};

IN_AVX2 struct nodes256 gather256(const struct forest_node *nodes, __m256i at)
{
    /* Lanes 0 1 4 5 first, then 2 3 6 7: the shuffles below put them in order again. */
    at = _mm256_permute4x64_epi64(at, _MM_SHUFFLE(3, 1, 2, 0));
    const long long *base = (const long long *)nodes;
    __m256 low = _mm256_castsi256_ps(
        _mm256_i32gather_epi64(base, _mm256_castsi256_si128(at), 8));
    __m256 high = _mm256_castsi256_ps(
        _mm256_i32gather_epi64(base, _mm256_extracti128_si256(at, 1), 8));
    return (struct nodes256){
        _mm256_castps_si256(_mm256_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0))),
        _mm256_castps_si256(_mm256_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)))};
}

/* The first 8 nodes of a tree, its first three levels. */
IN_AVX2 struct nodes256 load_top256(const struct forest_node *nodes)
{
    return gather256(nodes, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

IN_AVX2 struct nodes256 look_up256(struct nodes256 top, __m256i at)
{
    return (struct nodes256){_mm256_permutevar8x32_epi32(top.value, at),
                             _mm256_permutevar8x32_epi32(top.packed, at)};
}

/* All bits of the lanes whose lowest bit is set. */
IN_AVX2 __m256i low_bit256(__m256i bits)
{
    return _mm256_srai_epi32(_mm256_slli_epi32(bits, 31), 31);
}

/* Which lanes' categories are in their nodes' sets; see `in_sets512`. */
IN_AVX2 __m256i in_sets256(const uint32_t *words, __m256i value, int sets, __m256i categorical,
                           __m256i indexed, __m256 x)
{
    __m256i category = _mm256_cvttps_epi32(_mm256_floor_ps(x));
    __m256i inside = low_bit256(_mm256_srlv_epi32(value, category));
    if (sets == FOREST_INLINE_SETS)
        return _mm256_and_si256(inside, categorical);
    indexed = _mm256_and_si256(indexed, categorical);
    const __m256i none = _mm256_setzero_si256();
    const int *base = (const int *)words;
    __m256i size = _mm256_mask_i32gather_epi32(none, base, value, indexed, 4);
    __m256i word = _mm256_srli_epi32(category, 5);
    /* Compared as signed: neither is above 2^27, and below 2^24 no category is negative. */
    __m256i known = _mm256_and_si256(indexed, _mm256_cmpgt_epi32(size, word));
    known = _mm256_and_si256(known, _mm256_cmpgt_epi32(_mm256_set1_epi32(1 << 24), category));
    known = _mm256_andnot_si256(_mm256_cmpgt_epi32(none, category), known);
    __m256i place = _mm256_add_epi32(_mm256_add_epi32(value, _mm256_set1_epi32(1)), word);
    __m256i bits = _mm256_mask_i32gather_epi32(none, base, place, known, 4);
    __m256i bit = _mm256_and_si256(category, _mm256_set1_epi32(31));
    __m256i found = _mm256_and_si256(low_bit256(_mm256_srlv_epi32(bits, bit)), known);
    __m256i kept = _mm256_andnot_si256(indexed, _mm256_and_si256(inside, categorical));
    return _mm256_or_si256(kept, found);
}

IN_AVX2 __m256i step256(const uint32_t *words, struct nodes256 node, int sets, __m256i indexed,
                        __m256 x, bool missing)
{
    __m256i right = _mm256_castps_si256(
        _mm256_cmp_ps(x, _mm256_castsi256_ps(node.value), _CMP_NLT_UQ));
    if (sets != FOREST_NO_SETS) {
        __m256i categorical = _mm256_srai_epi32(node.packed, 31);
        __m256i inside = in_sets256(words, node.value, sets, categorical, indexed, x);
        right = _mm256_or_si256(_mm256_andnot_si256(categorical, right), inside);
    }
    if (missing) {
        __m256i absent = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
        __m256i default_left = _mm256_srai_epi32(_mm256_slli_epi32(node.packed, 1), 31);
        __m256i default_right = _mm256_andnot_si256(default_left, absent);
        right = _mm256_or_si256(_mm256_andnot_si256(absent, right), default_right);
    }
    __m256i left = _mm256_and_si256(node.packed, _mm256_set1_epi32(FOREST_CHILD_MASK));
    return _mm256_sub_epi32(left, right); /* all bits are -1 */
}

/* --- one row ----------------------------------------------------------------------------------- */

enum { BUNCHES256 = 4 }; /* registers of 8 trees in flight */

ALWAYS_INLINE __attribute__((target("avx2"))) void row_sets256(const struct forest *forest,
                                                                const float *row, float *sums,
                                                                int sets)
{
    const __m256i feature_mask = _mm256_set1_epi32(FOREST_FEATURE_MASK);
    const struct forest_tree *trees = forest->trees;
    uint32_t n_trees = forest->header.n_trees;
    for (uint32_t t = 0; t < n_trees; t += BUNCHES256 * 8) {
        uint32_t n = n_trees - t < BUNCHES256 * 8 ? n_trees - t : BUNCHES256 * 8;
        uint32_t first[BUNCHES256 * 8] __attribute__((aligned(32)));
        uint32_t indexed[BUNCHES256 * 8] __attribute__((aligned(32)));
        float leaves[BUNCHES256 * 8] __attribute__((aligned(32)));
        __m256i base[BUNCHES256], at[BUNCHES256];
        uint32_t depth = 0;
        for (uint32_t k = 0; k < BUNCHES256 * 8; k++) {
            const struct forest_tree *tree = &trees[t + (k < n ? k : 0)];
            first[k] = tree->first;
            indexed[k] = tree->sets == FOREST_INDEXED_SETS ? UINT32_MAX : 0;
            depth = tree->depth > depth ? tree->depth : depth;
        }
        uint32_t bunches = (n + 7) / 8;
        for (uint32_t b = 0; b < BUNCHES256; b++) {
            base[b] = _mm256_load_si256((const __m256i *)first + b);
            at[b] = _mm256_add_epi32(base[b], _mm256_set1_epi32(FOREST_ROOT));
        }
        for (uint32_t d = 0; d < depth; d++)
            for (uint32_t b = 0; b < BUNCHES256; b++) {
                if (b >= bunches)
                    break;
                struct nodes256 node = gather256(forest->nodes, at[b]);
                __m256i feature = _mm256_and_si256(
                    _mm256_srli_epi32(node.packed, FOREST_FEATURE_SHIFT), feature_mask);
                __m256 x = _mm256_i32gather_ps(row, feature, 4);
                __m256i of_words = _mm256_load_si256((const __m256i *)indexed + b);
                at[b] = _mm256_add_epi32(base[b],
                                         step256(forest->words, node, sets, of_words, x, true));
            }
        for (uint32_t b = 0; b < bunches; b++)
            _mm256_store_ps(leaves + b * 8,
                            _mm256_i32gather_ps((const float *)forest->nodes, at[b], 8));
        for (uint32_t k = 0; k < n; k++)
            sums[trees[t + k].group] += leaves[k];
    }
}

__attribute__((target("avx2"))) static void row256(const struct forest *forest, const float *row,
                                                   float *sums)
{
    if (forest->sets == FOREST_NO_SETS)
        row_sets256(forest, row, sums, FOREST_NO_SETS);
    else if (forest->sets == FOREST_INLINE_SETS)
        row_sets256(forest, row, sums, FOREST_INLINE_SETS);
    else
        row_sets256(forest, row, sums, FOREST_INDEXED_SETS);
}

/* --- tiles ------------------------------------------------------------------------------------- */

enum { TOP256 = 3 }; /* levels that are looked up in registers */

ALWAYS_INLINE __attribute__((target("avx2"))) void
tree_tiles256(const struct forest *forest, const struct forest_tree *tree, int sets, bool missing,
              const float *tile, size_t tile_floats, size_t n_tiles, float *sums,
              size_t sums_floats)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i feature_mask = _mm256_set1_epi32(FOREST_FEATURE_MASK << 4);
    const __m256i all = _mm256_set1_epi32(-1);
    const __m256i start = _mm256_set1_epi32(FOREST_ROOT);
    const struct forest_node *nodes = forest->nodes + tree->first;
    const struct nodes256 top = load_top256(nodes);
    const uint32_t depth = tree->depth;
    const size_t root = forest_feature(nodes[FOREST_ROOT].packed) * TILE;
    for (size_t i = 0; i < n_tiles; i++, tile += tile_floats, sums += sums_floats) {
        __m256i at[2]; /* the halves of the tile */
        for (int k = 0; k < 2; k++) {
            __m256 x = _mm256_loadu_ps(tile + root + 8 * k);
            at[k] = step256(forest->words, look_up256(top, start), sets, all, x, missing);
        }
        for (uint32_t d = 1; d < depth; d++)
            for (int k = 0; k < 2; k++) {
                struct nodes256 node = d < TOP256 ? look_up256(top, at[k]) : gather256(nodes, at[k]);
                __m256i place = _mm256_or_si256(
                    _mm256_and_si256(_mm256_srli_epi32(node.packed, FOREST_FEATURE_SHIFT - 4),
                                     feature_mask),
                    lane);
                __m256 x = _mm256_i32gather_ps(tile + 8 * k, place, 4);
                at[k] = step256(forest->words, node, sets, all, x, missing);
            }
        for (int k = 0; k < 2; k++) {
            __m256 leaf = _mm256_i32gather_ps((const float *)nodes, at[k], 8);
            __m256 sum = _mm256_add_ps(_mm256_loadu_ps(sums + 8 * k), leaf);
            _mm256_storeu_ps(sums + 8 * k, sum);
        }
    }
}

__attribute__((target("avx2"))) static void tiles256(const struct forest *forest, const float *tiles,
                                                     size_t n_tiles, bool missing, float *sums)
{
    WALK_TILES(tree_tiles256)
}

static const struct forest_walk AVX2 = {"avx2", row256, tiles256};

#endif
