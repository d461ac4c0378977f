/* The forest file in memory: opened, and checked so that no walk can leave it.
 *
 * docs/forest.md describes the file byte by byte. Nothing here knows Python.
 */
#ifndef EDGEXGB_FOREST_CORE_H
#define EDGEXGB_FOREST_CORE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forest_memory.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the forest file is little-endian, and read as it is"
#endif

enum {
    FOREST_VERSION = 1,
    FOREST_HEADER_BYTES = 64,
    FOREST_ROOT = 1,        /* slot 0 of a tree is unused: pairs of siblings stay in one line */
    FOREST_LINE = 8,        /* nodes in a cache line; a tree begins with one */
    FOREST_MAX_FEATURES = (1 << 14) - 1, /* one more number is left for the leaves' own */
    FOREST_MAX_GROUPS = 1 << 12,
    FOREST_MAX_TREES = 1 << 20,
    FOREST_MAX_NODES = 1 << 27,
    FOREST_MAX_WORDS = 1 << 27,
    FOREST_MAX_TREE_NODES = 1 << 16,
};

#define FOREST_MAGIC "EXFOREST"

enum forest_transform {
    FOREST_IDENTITY,
    FOREST_SIGMOID,
    FOREST_SOFTMAX,
    FOREST_ARGMAX,
    FOREST_EXP,
    FOREST_HINGE,
    FOREST_TRANSFORMS,
};

/* How the categorical nodes of a tree hold their sets. */
enum forest_sets {
    FOREST_NO_SETS,
    FOREST_INLINE_SETS,  /* `value` is the set: bit c is category c, up to 31 */
    FOREST_INDEXED_SETS, /* `value` is where in the words the set begins, with its own length */
    FOREST_SETS,
};

#define FOREST_CHILD_MASK 0xffffu
#define FOREST_FEATURE_SHIFT 16
#define FOREST_FEATURE_MASK 0x3fffu
#define FOREST_DEFAULT_LEFT (1u << 30)
#define FOREST_CATEGORICAL (1u << 31)

struct forest_node {
    uint32_t value; /* the bits of a float32 threshold or leaf, or a set */
    uint32_t packed; /* left child, feature, flags; the right child is beside the left one */
};

struct forest_tree {
    uint32_t first;
    uint32_t n_nodes;
    uint16_t depth;
    uint16_t group;
    uint16_t sets;
    uint16_t zero;
};

struct forest_header {
    char magic[8];
    uint16_t version;
    uint16_t transform;
    uint32_t crc;
    uint32_t n_features;
    uint32_t n_groups;
    uint32_t n_rounds;
    uint32_t n_trees;
    uint32_t n_nodes;
    uint32_t n_words;
    uint32_t text_bytes;
    uint32_t zeros[5];
};

_Static_assert(sizeof(struct forest_node) == 8, "nodes are read as they are stored");
_Static_assert(sizeof(struct forest_tree) == 16, "trees are read as they are stored");
_Static_assert(sizeof(struct forest_header) == FOREST_HEADER_BYTES, "so is the header");

struct forest {
    struct forest_header header;
    struct forest_node *nodes; /* all else follows in the same allocation */
    size_t n_bytes;            /* of that */
    const uint32_t *words;
    const struct forest_tree *trees;
    const float *base_scores; /* as the model file has them */
    const char *text;
    float *margins;      /* (n_groups,): the base scores through the objective's link */
    uint64_t steps;      /* of one row through all trees */
    uint16_t sets;       /* the most demanding of all trees' */
};

/* What is wrong with a file. */
struct forest_fault {
    char place[64];
    char observed[64];
    char expected[64];
    bool no_memory;
};

#define FOREST_FAULT(fault, field, ...) snprintf((fault)->field, sizeof(fault)->field, __VA_ARGS__)

static bool forest_refuse(struct forest_fault *fault, const char *place, unsigned long long observed,
                          const char *expected)
{
    FOREST_FAULT(fault, place, "%s", place);
    FOREST_FAULT(fault, observed, "%llu", observed);
    FOREST_FAULT(fault, expected, "%s", expected);
    return false;
}

static bool forest_refuse_node(struct forest_fault *fault, uint32_t tree, uint32_t node,
                               const char *observed, const char *expected)
{
    FOREST_FAULT(fault, place, "tree %u: node %u", tree, node);
    FOREST_FAULT(fault, observed, "%s", observed);
    FOREST_FAULT(fault, expected, "%s", expected);
    return false;
}

static inline float forest_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t forest_feature(uint32_t packed)
{
    return packed >> FOREST_FEATURE_SHIFT & FOREST_FEATURE_MASK;
}

static bool forest_check_header(const struct forest_header *h, size_t n_bytes,
                                struct forest_fault *fault)
{
    if (memcmp(h->magic, FOREST_MAGIC, sizeof h->magic) != 0) {
        FOREST_FAULT(fault, place, "magic");
        FOREST_FAULT(fault, observed, "other bytes");
        FOREST_FAULT(fault, expected, FOREST_MAGIC);
        return false;
    }
    if (h->version != FOREST_VERSION)
        return forest_refuse(fault, "version", h->version, "1");
    if (h->transform >= FOREST_TRANSFORMS)
        return forest_refuse(fault, "transform", h->transform, "at most 5");
    if (h->n_features == 0 || h->n_features > FOREST_MAX_FEATURES)
        return forest_refuse(fault, "features", h->n_features, "1 to 16383");
    if (h->n_groups == 0 || h->n_groups > FOREST_MAX_GROUPS)
        return forest_refuse(fault, "groups", h->n_groups, "1 to 4096");
    bool vector = h->transform == FOREST_SOFTMAX || h->transform == FOREST_ARGMAX;
    if (!vector && h->n_groups != 1)
        return forest_refuse(fault, "groups", h->n_groups, "1, as the transform has it");
    if (h->n_trees == 0 || h->n_trees > FOREST_MAX_TREES)
        return forest_refuse(fault, "trees", h->n_trees, "1 to 1048576");
    if (h->n_nodes == 0 || h->n_nodes > FOREST_MAX_NODES)
        return forest_refuse(fault, "nodes", h->n_nodes, "1 to 134217728");
    if (h->n_words > FOREST_MAX_WORDS)
        return forest_refuse(fault, "words", h->n_words, "at most 134217728");
    for (size_t i = 0; i < sizeof h->zeros / sizeof *h->zeros; i++)
        if (h->zeros[i] != 0)
            return forest_refuse(fault, "reserved field", h->zeros[i], "0");
    uint64_t expected = FOREST_HEADER_BYTES + (uint64_t)h->n_nodes * sizeof(struct forest_node) +
                        (uint64_t)h->n_words * sizeof(uint32_t) +
                        (uint64_t)h->n_trees * sizeof(struct forest_tree) +
                        (uint64_t)h->n_groups * sizeof(float) + h->text_bytes;
    if (expected != n_bytes) {
        forest_refuse(fault, "size in bytes", n_bytes, "");
        FOREST_FAULT(fault, expected, "%llu", (unsigned long long)expected);
        return false;
    }
    return true;
}

/* Whether the set that begins at a word ends within the words. */
static bool forest_set_fits(const struct forest *forest, uint32_t at)
{
    uint32_t n = forest->header.n_words;
    return at < n && forest->words[at] < n - at;
}

/* Whether the node is a leaf; -1 where it is neither that nor a good inner node. */
static int forest_check_node(const struct forest *forest, uint32_t t, uint32_t i,
                             struct forest_fault *fault)
{
    const struct forest_tree *tree = &forest->trees[t];
    struct forest_node node = forest->nodes[tree->first + i];
    uint32_t left = node.packed & FOREST_CHILD_MASK;
    uint32_t feature = forest_feature(node.packed);
    bool categorical = node.packed & FOREST_CATEGORICAL;
    const char *observed, *expected;
    if (feature == forest->header.n_features) {
        if (left == i && isfinite(forest_float(node.value)) &&
            !(node.packed & (FOREST_CATEGORICAL | FOREST_DEFAULT_LEFT)))
            return 1;
        observed = "another";
        expected = "a leaf that is finite and holds itself";
    } else if (feature > forest->header.n_features) {
        observed = "a feature beyond the last";
        expected = "a feature of the model";
    } else if (left + 1 >= tree->n_nodes) {
        observed = "a child beyond the last node";
        expected = "children within the tree";
    } else if (!categorical && isnan(forest_float(node.value))) {
        observed = "NaN";
        expected = "a threshold";
    } else if (categorical && tree->sets == FOREST_NO_SETS) {
        observed = "a categorical node";
        expected = "none, as the tree has it";
    } else if (categorical && tree->sets == FOREST_INDEXED_SETS &&
               !forest_set_fits(forest, node.value)) {
        observed = "a set beyond the words";
        expected = "a set within them";
    } else {
        return 0;
    }
    forest_refuse_node(fault, t, i, observed, expected);
    return -1;
}

/* Walks all of a tree. `queue` has room for its nodes, `seen` one zero for each, and is zero after.
 */
static bool forest_check_tree(const struct forest *forest, uint32_t t, uint16_t *queue, uint8_t *seen,
                              struct forest_fault *fault)
{
    const struct forest_tree *tree = &forest->trees[t];
    uint32_t depth = 0, done = 0, level_end = 1, n = 1;
    bool good = true;
    queue[0] = FOREST_ROOT;
    seen[FOREST_ROOT] = 1;
    while (good && done < n) {
        uint32_t i = queue[done++];
        int leaf = forest_check_node(forest, t, i, fault);
        good = leaf >= 0;
        if (leaf == 0) {
            uint32_t left = forest->nodes[tree->first + i].packed & FOREST_CHILD_MASK;
            /* The top levels stand as in a heap: there the kernels look nodes up in registers. */
            bool in_place = depth >= 4 || left + 1 < 2u << (depth + 1);
            if (seen[left] || seen[left + 1] || !in_place) {
                const char *wrong = in_place ? "a child of two nodes" : "a child out of its place";
                good = forest_refuse_node(fault, t, i, wrong, "a tree");
            } else {
                seen[left] = seen[left + 1] = 1;
                queue[n++] = (uint16_t)left;
                queue[n++] = (uint16_t)(left + 1);
            }
        }
        if (done == level_end && n > done) {
            depth++;
            level_end = n;
        }
    }
    memset(seen, 0, tree->n_nodes);
    if (good && depth != tree->depth)
        return forest_refuse_node(fault, t, FOREST_ROOT, "another depth", "that of the tree");
    return good;
}

static bool forest_check_table(const struct forest *forest, uint32_t t, struct forest_fault *fault)
{
    const struct forest_header *h = &forest->header;
    const struct forest_tree *tree = &forest->trees[t];
    if (tree->n_nodes <= FOREST_ROOT || tree->n_nodes > FOREST_MAX_TREE_NODES ||
        tree->first > h->n_nodes || tree->n_nodes > h->n_nodes - tree->first ||
        tree->first % FOREST_LINE != 0)
        return forest_refuse_node(fault, t, tree->first, "nodes out of place", "nodes of the file");
    if (tree->group >= h->n_groups)
        return forest_refuse_node(fault, t, 0, "a group beyond the last", "a group of the model");
    if (tree->sets >= FOREST_SETS || tree->zero != 0)
        return forest_refuse_node(fault, t, 0, "unknown flags", "0, 1 or 2");
    return true;
}

/* The margin that a base score stands for.
 *
 * Source: xgboost 3.2, `ProbToMargin` in src/objective/regression_loss.h and regression_obj.cu.
 */
static float forest_margin(enum forest_transform transform, float score)
{
    const float eps = 1e-6f;
    if (transform == FOREST_EXP)
        return logf(score);
    if (transform != FOREST_SIGMOID)
        return score;
    score = score > eps ? score : eps;
    score = score < 1.0f - eps ? score : 1.0f - eps;
    return -logf(1.0f / score - 1.0f);
}

static bool forest_check(struct forest *forest, struct forest_fault *fault)
{
    const struct forest_header *h = &forest->header;
    uint16_t *queue = malloc(FOREST_MAX_TREE_NODES * sizeof *queue);
    uint8_t *seen = calloc(FOREST_MAX_TREE_NODES + 1, 1);
    fault->no_memory = queue == NULL || seen == NULL;
    bool good = !fault->no_memory;
    for (uint32_t t = 0; good && t < h->n_trees; t++) {
        const struct forest_tree *tree = &forest->trees[t];
        good = forest_check_table(forest, t, fault) &&
               forest_check_tree(forest, t, queue, seen, fault);
        forest->steps += tree->depth;
        if (tree->sets > forest->sets)
            forest->sets = tree->sets;
    }
    free(queue);
    free(seen);
    for (uint32_t g = 0; good && g < h->n_groups; g++) {
        forest->margins[g] = forest_margin(h->transform, forest->base_scores[g]);
        if (!isfinite(forest->margins[g])) {
            good = forest_refuse(fault, "base score of group", g, "one with a finite margin");
        }
    }
    return good;
}

static void forest_close(struct forest *forest)
{
    forest_release(forest->nodes, forest->n_bytes);
    free(forest->margins);
    memset(forest, 0, sizeof *forest);
}

/* Copies and checks a file. False, with the fault filled in, where it is not to be used. */
static bool forest_open(struct forest *forest, const uint8_t *bytes, size_t n_bytes,
                        struct forest_fault *fault)
{
    memset(forest, 0, sizeof *forest);
    memset(fault, 0, sizeof *fault);
    if (n_bytes < FOREST_HEADER_BYTES)
        return forest_refuse(fault, "size in bytes", n_bytes, "64 at least");
    struct forest_header *h = &forest->header;
    memcpy(h, bytes, sizeof *h);
    if (!forest_check_header(h, n_bytes, fault))
        return false;
    size_t body = n_bytes - FOREST_HEADER_BYTES;
    /* Whole lines; the kernels' tables read the first 32 slots of a tree, however small it is. */
    size_t room = (body + 32 * sizeof(struct forest_node) + 63) / 64 * 64;
    forest->nodes = forest_allocate(room);
    forest->n_bytes = room;
    forest->margins = malloc(h->n_groups * sizeof(float));
    if (forest->nodes == NULL || forest->margins == NULL) {
        forest_close(forest);
        fault->no_memory = true;
        return false;
    }
    memcpy(forest->nodes, bytes + FOREST_HEADER_BYTES, body);
    memset((uint8_t *)forest->nodes + body, 0, room - body);
    forest->words = (const uint32_t *)(forest->nodes + h->n_nodes);
    forest->trees = (const struct forest_tree *)(forest->words + h->n_words);
    forest->base_scores = (const float *)(forest->trees + h->n_trees);
    forest->text = (const char *)(forest->base_scores + h->n_groups);
    if (!forest_check(forest, fault)) {
        forest_close(forest);
        return false;
    }
    return true;
}

static inline uint32_t forest_n_outputs(const struct forest *forest)
{
    return forest->header.transform == FOREST_SOFTMAX ? forest->header.n_groups : 1;
}

#endif
