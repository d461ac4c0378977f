/* What the objectives make of a row's sums. */
#ifndef EDGEXGB_FOREST_TRANSFORM_H
#define EDGEXGB_FOREST_TRANSFORM_H

#include "forest_core.h"

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

#endif
