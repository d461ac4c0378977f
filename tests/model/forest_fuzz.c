/* A fuzzer of the forest file, for a compiler with libFuzzer; `make test` does not need it.
 *
 *     clang -std=c11 -O1 -g -ffp-contract=off -fsanitize=fuzzer,address,undefined \
 *         -fno-sanitize-recover=undefined -Imodel tests/model/forest_fuzz.c -lm -o forest_fuzz
 *     ./forest_fuzz -max_len=4096 CORPUS
 *
 * The corpus is a directory of forest files. Whatever opens has to predict within its bounds, and
 * the same with every walk.
 */
#include "forest_predict.h"

static const float VALUES[] = {NAN, INFINITY, -INFINITY, -1.0f, -0.5f, -0.0f, 0.0f, 0.5f, 1.0f, 3.0f,
                               31.0f, 32.0f, 33.0f, 64.0f, 16777216.0f, 3e9f, 1e-45f, 1e38f};

static void predict_all(const struct forest *forest, size_t n_rows)
{
    size_t n = n_rows * forest->header.n_features, n_outputs = n_rows * forest_n_outputs(forest);
    float *rows = malloc(n * sizeof *rows);
    float *wanted = malloc(n_outputs * sizeof *wanted), *out = malloc(n_outputs * sizeof *out);
    const struct forest_walk *walks[4];
    size_t n_walks = forest_walks(walks);
    if (rows == NULL || wanted == NULL || out == NULL)
        abort();
    for (size_t i = 0; i < n; i++)
        rows[i] = VALUES[i * 7 % (sizeof VALUES / sizeof *VALUES)];
    for (size_t w = 0; w < n_walks; w++) {
        if (!forest_predict(forest, walks[w], rows, n_rows, 1, w == 0 ? wanted : out))
            abort();
        /* Sums of hostile leaves may overflow to a NaN, whose sign is not fixed. */
        for (size_t i = 0; w > 0 && i < n_outputs; i++)
            if (wanted[i] == wanted[i] && memcmp(&wanted[i], &out[i], sizeof *out) != 0)
                abort();
    }
    free(rows);
    free(wanted);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct forest forest;
    struct forest_fault fault;
    if (!forest_open(&forest, bytes, n_bytes, &fault))
        return 0;
    if (forest.header.n_features <= 256) {
        predict_all(&forest, 2);
        predict_all(&forest, 37);
    }
    forest_close(&forest);
    return 0;
}
