/* Sixteen rows beside each other on ARM's 64-bit machines, all of which have NEON. See forest_walk.h.
 *
 * NEON cannot gather, so a walk that follows each row's own path gains nothing from it. The top of a
 * tree is taken another way: all of its 15 nodes are compared with all 16 rows of a tile, whether a
 * row passes there or not, as values of a feature stand beside each other and need no gathering. The
 * answers, a byte for each row, choose among themselves: four of them are the row's path. The levels
 * below are walked as in plain C, each row from where its path has led.
 */
#ifndef EDGEXGB_FOREST_WALK_NEON_H
#define EDGEXGB_FOREST_WALK_NEON_H

#include <arm_neon.h>

enum { TOP_NEON = 4 }; /* levels that are compared as a whole */

#define TOP_NODES (1u << TOP_NEON)

/* The top of a tree as a heap: the children of node h are 2 h and 2 h + 1. */
struct top_neon {
    struct forest_node nodes[TOP_NODES];
    uint8_t ends[TOP_NODES]; /* for each path, a bit for each level, 0 is right: the slot it leads to */
};

/* A leaf takes the place of its own children: no row goes right there. */
static struct top_neon load_top_neon(const struct forest_node *nodes, uint32_t leaf)
{
    struct top_neon top = {.nodes = {{0}}};
    uint8_t slots[2 * TOP_NODES]; /* docs/forest.md, 4.2: those of five levels are below 32 */
    slots[1] = FOREST_ROOT;
    for (uint32_t h = 1; h < TOP_NODES; h++) {
        struct forest_node node = nodes[slots[h]];
        uint32_t left = node.packed & FOREST_CHILD_MASK;
        top.nodes[h] = node;
        slots[2 * h] = (uint8_t)left;
        slots[2 * h + 1] = (uint8_t)(left + (forest_feature(node.packed) != leaf));
    }
    for (uint32_t path = 0; path < TOP_NODES; path++)
        top.ends[path] = slots[2 * TOP_NODES - 1 - path];
    return top;
}

/* Four masks of four rows as one of 16, a byte for each. */
ALWAYS_INLINE uint8x16_t narrow_neon(const uint32x4_t *masks)
{
    uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_u32(masks[0]), vreinterpretq_u16_u32(masks[1]));
    uint16x8_t high = vuzp1q_u16(vreinterpretq_u16_u32(masks[2]), vreinterpretq_u16_u32(masks[3]));
    return vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
}

/* The rows whose category is not in an inline set: those that go left. */
ALWAYS_INLINE uint8x16_t outside_neon(uint32_t set, const float *values)
{
    uint32x4_t outside[4];
    for (int k = 0; k < 4; k++) {
        /* Rounded down, so that -0.5 is no category; as unsigned, below zero is beyond the set. */
        int32x4_t category = vcvtmq_s32_f32(vld1q_f32(values + 4 * k));
        uint32x4_t at = vminq_u32(vreinterpretq_u32_s32(category), vdupq_n_u32(32));
        uint32x4_t bit = vshlq_u32(vdupq_n_u32(set), vnegq_s32(vreinterpretq_s32_u32(at)));
        outside[k] = vceqzq_u32(vandq_u32(bit, vdupq_n_u32(1)));
    }
    return narrow_neon(outside);
}

/* The rows that go left at a node, all bits of a byte for each. */
ALWAYS_INLINE uint8x16_t left_neon(struct forest_node node, int sets, bool missing, const float *tile)
{
    const float *values = tile + forest_feature(node.packed) * TILE;
    uint8x16_t left;
    if (sets == FOREST_INLINE_SETS && (node.packed & FOREST_CATEGORICAL)) {
        left = outside_neon(node.value, values);
    } else {
        const float32x4_t threshold = vdupq_n_f32(forest_float(node.value));
        uint32x4_t less[4];
        for (int k = 0; k < 4; k++)
            less[k] = vcltq_f32(vld1q_f32(values + 4 * k), threshold);
        left = narrow_neon(less);
    }
    if (missing) {
        uint32x4_t equal[4]; /* to itself, as all but NaN are */
        for (int k = 0; k < 4; k++) {
            float32x4_t x = vld1q_f32(values + 4 * k);
            equal[k] = vceqq_f32(x, x);
        }
        uint8x16_t default_left = vdupq_n_u8(node.packed & FOREST_DEFAULT_LEFT ? UINT8_MAX : 0);
        left = vbslq_u8(narrow_neon(equal), left, default_left);
    }
    return left;
}

/* The rows' paths through the top, as `ends` counts them. */
ALWAYS_INLINE uint8x16_t paths_neon(const struct forest_node *top, int sets, bool missing,
                                    const float *tile)
{
#define LEFT(h) left_neon(top[h], sets, missing, tile)
    uint8x16_t first = LEFT(1);
    uint8x16_t second = vbslq_u8(first, LEFT(2), LEFT(3));
    uint8x16_t third = vbslq_u8(first, vbslq_u8(second, LEFT(4), LEFT(5)),
                                vbslq_u8(second, LEFT(6), LEFT(7)));
    uint8x16_t a = vbslq_u8(third, LEFT(8), LEFT(9)), b = vbslq_u8(third, LEFT(10), LEFT(11));
    uint8x16_t c = vbslq_u8(third, LEFT(12), LEFT(13)), d = vbslq_u8(third, LEFT(14), LEFT(15));
    uint8x16_t fourth = vbslq_u8(first, vbslq_u8(second, a, b), vbslq_u8(second, c, d));
#undef LEFT
    uint8x16_t path = vandq_u8(fourth, vdupq_n_u8(1));
    path = vbslq_u8(vdupq_n_u8(2), third, path);
    path = vbslq_u8(vdupq_n_u8(4), second, path);
    return vbslq_u8(vdupq_n_u8(8), first, path);
}

/* Adds the leaves of a tree that ends within the top. `leaves` has the bytes of the 16 paths' leaves,
 * all first bytes, all second ones, and so on. */
ALWAYS_INLINE void add_leaves_neon(uint8x16x4_t leaves, uint8x16_t paths, float *sums)
{
    uint8x16_t bytes[4];
    for (int k = 0; k < 4; k++)
        bytes[k] = vqtbl1q_u8(leaves.val[k], paths);
    uint16x8_t low[2] = {vreinterpretq_u16_u8(vzip1q_u8(bytes[0], bytes[1])),
                         vreinterpretq_u16_u8(vzip2q_u8(bytes[0], bytes[1]))};
    uint16x8_t high[2] = {vreinterpretq_u16_u8(vzip1q_u8(bytes[2], bytes[3])),
                          vreinterpretq_u16_u8(vzip2q_u8(bytes[2], bytes[3]))};
    for (int k = 0; k < 2; k++) {
        float32x4_t first = vreinterpretq_f32_u16(vzip1q_u16(low[k], high[k]));
        float32x4_t second = vreinterpretq_f32_u16(vzip2q_u16(low[k], high[k]));
        float *out = sums + 8 * k;
        vst1q_f32(out, vaddq_f32(vld1q_f32(out), first));
        vst1q_f32(out + 4, vaddq_f32(vld1q_f32(out + 4), second));
    }
}

/* A tree that ends within the top. */
ALWAYS_INLINE void low_tree_neon(const struct forest *forest, const struct forest_node *nodes, int sets,
                                 bool missing, const float *tile, size_t tile_floats, size_t n_tiles,
                                 float *sums, size_t sums_floats)
{
    const struct top_neon top = load_top_neon(nodes, forest->header.n_features);
    uint32_t values[TOP_NODES];
    for (uint32_t path = 0; path < TOP_NODES; path++)
        values[path] = nodes[top.ends[path]].value;
    const uint8x16x4_t leaves = vld4q_u8((const uint8_t *)values);
    for (size_t i = 0; i < n_tiles; i++, tile += tile_floats, sums += sums_floats)
        add_leaves_neon(leaves, paths_neon(top.nodes, sets, missing, tile), sums);
}

/* A tree that goes on below the top. */
ALWAYS_INLINE void high_tree_neon(const struct forest *forest, const struct forest_tree *tree, int sets,
                                  bool missing, const float *tile, size_t tile_floats,
                                  size_t n_tiles, float *sums, size_t sums_floats)
{
    const struct forest_node *nodes = forest->nodes + tree->first;
    const struct top_neon top = load_top_neon(nodes, forest->header.n_features);
    const uint8x16_t ends = vld1q_u8(top.ends);
    for (size_t i = 0; i < n_tiles; i++, tile += tile_floats, sums += sums_floats) {
        uint8_t from[TILE];
        vst1q_u8(from, vqtbl1q_u8(ends, paths_neon(top.nodes, sets, missing, tile)));
        plain_tree_from(forest, nodes, from, tree->depth - TOP_NEON, sets, tile, missing, sums);
    }
}

/* Sets in the words are looked up row by row, and so only where a row passes. */
ALWAYS_INLINE void tree_tiles_neon(const struct forest *forest, const struct forest_tree *tree,
                                   int sets, bool missing, const float *tile, size_t tile_floats,
                                   size_t n_tiles, float *sums, size_t sums_floats)
{
    if (sets == FOREST_INDEXED_SETS)
        plain_tree_tiles(forest, tree, sets, missing, tile, tile_floats, n_tiles, sums, sums_floats);
    else if (tree->depth <= TOP_NEON)
        low_tree_neon(forest, forest->nodes + tree->first, sets, missing, tile, tile_floats, n_tiles,
                      sums, sums_floats);
    else
        high_tree_neon(forest, tree, sets, missing, tile, tile_floats, n_tiles, sums, sums_floats);
}

static void tiles_neon(const struct forest *forest, const float *tiles, size_t n_tiles, bool missing,
                       float *sums)
{
    WALK_TILES(tree_tiles_neon)
}

/* One row has nothing to stand beside: its trees are walked as in plain C. */
static const struct forest_walk NEON = {"neon", plain_row, tiles_neon};

#endif
