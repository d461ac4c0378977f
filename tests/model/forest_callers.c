/* Callers at once, and how many threads walk for them; test_forest_kernel.py builds it.
 *
 *     forest_callers FOREST N_CALLERS N_THREADS
 *
 * Each caller predicts the same rows, some times over, with a walk that counts who is in it and rests
 * there, so that all who may walk at once do. To stdout goes the largest count. Where `company` is
 * asked for with a fourth argument, the walk waits in vain for ten seconds at most until so many are
 * in it. Is aborted where a caller gets other bits than one thread alone.
 */
#define _DEFAULT_SOURCE /* usleep */
#include <unistd.h>

#include "forest_predict.h"

enum { N_ROWS = 8192, N_TIMES = 3, REST_US = 500, PATIENCE = 20000, MAX_CALLERS = 16 };

static struct forest forest;
static const struct forest_walk *best;
static atomic_uint inside, most;
static unsigned company, n_threads;
static float *rows, *wanted;

static void count_tiles(const struct forest *walked, const float *tiles, size_t n_tiles, bool missing,
                        float *sums)
{
    unsigned n = atomic_fetch_add(&inside, 1) + 1, seen = atomic_load(&most);
    while (seen < n && !atomic_compare_exchange_weak(&most, &seen, n))
        ;
    for (int i = 0; i == 0 || (i < PATIENCE && atomic_load(&most) < company); i++)
        usleep(REST_US);
    best->tiles(walked, tiles, n_tiles, missing, sums);
    atomic_fetch_sub(&inside, 1);
}

static void *call(void *argument)
{
    const struct forest_walk counted = {"counted", best->row, count_tiles};
    size_t size = N_ROWS * forest_n_outputs(&forest) * sizeof(float);
    float *out = malloc(size);
    for (int i = 0; i < N_TIMES; i++) {
        if (out == NULL || !forest_predict(&forest, &counted, rows, N_ROWS, n_threads, out) ||
            memcmp(out, wanted, size) != 0)
            abort();
    }
    free(out);
    return argument;
}

static void open_forest(const char *path)
{
    static uint8_t bytes[1 << 20];
    struct forest_fault fault;
    FILE *file = fopen(path, "rb");
    if (file == NULL || !forest_open(&forest, bytes, fread(bytes, 1, sizeof bytes, file), &fault))
        exit(1);
    fclose(file);
}

static void make_rows(void)
{
    size_t n = (size_t)N_ROWS * forest.header.n_features;
    rows = malloc(n * sizeof *rows);
    wanted = malloc(N_ROWS * forest_n_outputs(&forest) * sizeof *wanted);
    if (rows == NULL || wanted == NULL)
        exit(1);
    for (size_t i = 0; i < n; i++)
        rows[i] = (float)(i * 7919 % 1009) / 1009.0f;
    if (!forest_predict(&forest, best, rows, N_ROWS, 1, wanted))
        exit(1);
}

int main(int n_arguments, char **arguments)
{
    pthread_t callers[MAX_CALLERS];
    const struct forest_walk *walks[4];
    if (n_arguments < 4 || atoi(arguments[2]) > MAX_CALLERS)
        return 1;
    int n_callers = atoi(arguments[2]);
    n_threads = (unsigned)atoi(arguments[3]);
    company = n_arguments > 4 ? (unsigned)atoi(arguments[4]) : 0;
    forest_walks(walks);
    best = walks[0];
    open_forest(arguments[1]);
    make_rows();
    for (int i = 0; i < n_callers; i++)
        if (pthread_create(&callers[i], NULL, call, NULL) != 0)
            return 1;
    for (int i = 0; i < n_callers; i++)
        pthread_join(callers[i], NULL);
    printf("%u\n", atomic_load(&most));
    free(rows);
    free(wanted);
    forest_close(&forest);
    return atomic_load(&threads_walking) == 0 ? 0 : 1;
}
