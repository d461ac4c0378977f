/* The kernel without Python, for machines that are emulated; test_forest_kernel.py builds it.
 *
 *     forest_harness FOREST ROWS N_THREADS
 *
 * ROWS is (n_rows, n_features) float32. To stdout goes, for each walk that the machine can do, the
 * best one first: its name in 8 bytes, NULs at the end, and its outputs, (n_rows, n_outputs) float32.
 * Ends with 1 where a file is none, and is aborted where rows one by one give other bits than all at
 * once.
 */
#include "forest_predict.h"

struct content {
    void *bytes;
    size_t size;
};

static struct content read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        exit(1);
    struct content content = {.size = (size_t)ftell(file)};
    content.bytes = malloc(content.size + 1);
    rewind(file);
    if (content.bytes == NULL || fread(content.bytes, 1, content.size, file) != content.size)
        exit(1);
    fclose(file);
    return content;
}

static void predict(const struct forest *forest, const struct forest_walk *walk, const float *rows,
                    size_t n_rows, unsigned n_threads, float *out)
{
    if (!forest_predict(forest, walk, rows, n_rows, n_threads, out))
        exit(1);
}

static void check_rows(const struct forest *forest, const struct forest_walk *walk, const float *rows,
                       size_t n_rows, const float *wanted)
{
    size_t n_outputs = forest_n_outputs(forest);
    float out[FOREST_MAX_GROUPS];
    for (size_t r = 0; r < n_rows; r++) {
        predict(forest, walk, rows + r * forest->header.n_features, 1, 1, out);
        if (memcmp(out, wanted + r * n_outputs, n_outputs * sizeof *out) != 0)
            abort();
    }
}

int main(int n_arguments, char **arguments)
{
    struct forest forest;
    struct forest_fault fault;
    const struct forest_walk *walks[4];
    if (n_arguments != 4)
        return 1;
    struct content file = read_all(arguments[1]), rows = read_all(arguments[2]);
    if (!forest_open(&forest, file.bytes, file.size, &fault))
        return 1;
    size_t n_rows = rows.size / (forest.header.n_features * sizeof(float));
    size_t n = n_rows * forest_n_outputs(&forest), n_walks = forest_walks(walks);
    float *out = malloc(n * sizeof *out);
    for (size_t w = 0; out != NULL && w < n_walks; w++) {
        char name[8] = {0};
        snprintf(name, sizeof name, "%s", walks[w]->name);
        predict(&forest, walks[w], rows.bytes, n_rows, (unsigned)atoi(arguments[3]), out);
        check_rows(&forest, walks[w], rows.bytes, n_rows, out);
        fwrite(name, 1, sizeof name, stdout);
        fwrite(out, sizeof *out, n, stdout);
    }
    free(out);
    free(file.bytes);
    free(rows.bytes);
    forest_close(&forest);
    return 0;
}
