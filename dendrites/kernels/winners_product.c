/* The three products of a linear layer whose input are winners: every multiplication with a 0 is left
 * out.
 *
 * Forward and weight gradient are weighted sums of rows: of the transposed weights for each sample, and
 * of the output's gradients for each unit. The sums stay in registers while a list of winners is gone
 * through, for two lists at a time, because one alone waits for its own additions. Columns are taken in
 * blocks, and copied so that a block is contiguous and fits the first cache. The input gradient is a dot
 * product for each winner; a loser's is 0.
 *
 * Each number is a sum in an order of its own: it depends neither on threads nor on the other rows.
 */
#include <stdlib.h>
#include <string.h>

#include "winners.h"

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { VECTORS = 4, BLOCK = VECTORS * LANES };

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16)));
typedef struct {
    Vector of[VECTORS];
} Sums;

#define INLINE static inline __attribute__((always_inline))

static int64_t blocks_of(int64_t columns, int64_t width) { return (columns + width - 1) / width; }

static float *allocate(int64_t floats) {
    size_t bytes = (size_t)(floats * 4 + 63) / 64 * 64;
    return aligned_alloc(64, bytes ? bytes : 64);
}

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* block[row][width] = columns [first, first + width) of matrix[rows][columns]; 0 beyond the last. */
static void copy_block(const float *matrix, int64_t rows, int64_t columns, int64_t first, float *block) {
    const int64_t there = smaller(BLOCK, columns - first);
    for (int64_t row = 0; row < rows; row++, block += BLOCK) {
        memcpy(block, matrix + row * columns + first, 4 * (size_t)there);
        memset(block + there, 0, 4 * (size_t)(BLOCK - there));
    }
}

/* block[column][width] = rows [first, first + width) of matrix[rows][columns], transposed; 0 beyond. */
static void transpose_block(const float *matrix, int64_t rows, int64_t columns, int64_t first,
                            int64_t width, float *block) {
    enum { TILE = 16 };
    for (int64_t start = 0; start < columns; start += TILE) {
        const int64_t end = smaller(start + TILE, columns);
        for (int64_t i = 0; i < width; i++) {
            const float *row = matrix + (first + i) * columns;
            for (int64_t c = start; c < end; c++) block[c * width + i] = first + i < rows ? row[c] : 0.0f;
        }
    }
}

/* Weighted sums of the rows of a block, one for each of two lists. */
INLINE void sum_two(const Winner *a, int64_t count_a, const Winner *b, int64_t count_b,
                    const float *block, Sums *sums_a, Sums *sums_b) {
    Sums of_a = {0}, of_b = {0};
    int64_t i = 0;
#define ADD(sums, list)                                                                   \
    {                                                                                     \
        const Vector *row = (const Vector *)(block + (int64_t)list[i].index * BLOCK);     \
        const float value = list[i].value;                                                \
        for (int v = 0; v < VECTORS; v++) sums.of[v] += value * row[v];                   \
    }
    for (; i < count_a && i < count_b; i++) {
        ADD(of_a, a)
        ADD(of_b, b)
    }
    const int64_t both = i;
    for (; i < count_a; i++) ADD(of_a, a)
    for (i = both; i < count_b; i++) ADD(of_b, b)
#undef ADD
    *sums_a = of_a, *sums_b = of_b;
}

INLINE float total(Vector x) {
    Quad quads[LANES / 4];
    memcpy(quads, &x, sizeof x);
    for (int half = LANES / 8; half >= 1; half /= 2)
        for (int q = 0; q < half; q++) quads[q] += quads[q + half];
    return (quads[0][0] + quads[0][2]) + (quads[0][1] + quads[0][3]);
}

/* y[e] = winners of sample [rows] . weight[e]^T, for `stack` maps e; 0 if there is no memory. */
int winners_product(const Winner *lists, const int32_t *counts, int64_t stack, int64_t rows, int64_t in,
                    const float *weight, int64_t out, float *y, int threads) {
    const int64_t blocks = blocks_of(out, BLOCK);
    float *packed = allocate(stack * blocks * in * BLOCK);
    if (!packed) return 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t one = 0; one < stack * blocks; one++)
            transpose_block(weight + one / blocks * out * in, out, in, one % blocks * BLOCK, BLOCK,
                            packed + one * in * BLOCK);
        for (int64_t one = 0; one < stack * blocks; one++) {
            const int64_t e = one / blocks, first = one % blocks * BLOCK;
            const size_t bytes = 4 * (size_t)smaller(BLOCK, out - first);
            const float *block = packed + one * in * BLOCK;
#pragma omp for schedule(static) nowait
            for (int64_t row = e * rows; row < (e + 1) * rows; row += 2) {
                const int alone = row + 1 == (e + 1) * rows;
                Sums a, b;
                sum_two(lists + row * in, counts[row], lists + (row + 1 - alone) * in,
                        alone ? 0 : counts[row + 1], block, &a, &b);
                memcpy(y + row * out + first, &a, bytes);
                if (!alone) memcpy(y + (row + 1) * out + first, &b, bytes);
            }
        }
    }
    free(packed);
    return 1;
}

/* dots[list[i].index] = gradient . weights of unit list[i].index, for `count` winners at once. */
INLINE void dots(const Winner *list, int count, const float *gradient, const float *weights,
                 int64_t width, float *out) {
    Vector sums[8] = {0};
    for (int64_t c = 0; c < width; c += LANES) {
        const Vector g = *(const Vector *)(gradient + c);
        for (int i = 0; i < count; i++)
            sums[i] += g * *(const Vector *)(weights + list[i].index * width + c);
    }
    for (int i = 0; i < count; i++) out[list[i].index] = total(sums[i]);
}

/* z_gradient[e] = y_gradient[e] . weight[e] for the winners, 0 for the losers; 0 without memory. */
int winners_input_gradient(const Winner *lists, const int32_t *counts, int64_t stack, int64_t rows,
                           int64_t in, const float *weight, int64_t out, const float *y_gradient,
                           float *z_gradient, int threads) {
    const int64_t width = blocks_of(out, LANES) * LANES;
    float *transposed = allocate(stack * in * width);
    if (!transposed) return 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t e = 0; e < stack; e++)
            transpose_block(weight + e * out * in, out, in, 0, width, transposed + e * in * width);
        float own[width];
        memset(own, 0, sizeof own);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < stack * rows; row++) {
            const float *weights = transposed + row / rows * in * width;
            const float *gradient = y_gradient + row * out;
            if (width != out) gradient = memcpy(own, gradient, 4 * (size_t)out);
            const Winner *list = lists + row * in;
            float *result = z_gradient + row * in;
            memset(result, 0, 4 * (size_t)in);
            int32_t i = 0, count = counts[row];
            for (; i + 8 <= count; i += 8) dots(list + i, 8, gradient, weights, width, result);
            for (; i + 4 <= count; i += 4) dots(list + i, 4, gradient, weights, width, result);
            for (; i < count; i++) dots(list + i, 1, gradient, weights, width, result);
        }
    }
    free(transposed);
    return 1;
}

/* The rows in which each unit wins: `by_unit[starts[unit]]` to `by_unit[starts[unit + 1]]`. */
static void lists_by_unit(const Winner *lists, const int32_t *counts, int64_t rows, int64_t in,
                          Winner *by_unit, int64_t *starts) {
    memset(starts, 0, sizeof(int64_t) * (size_t)(in + 2));
    for (int64_t row = 0; row < rows; row++)
        for (int32_t i = 0; i < counts[row]; i++) starts[lists[row * in + i].index + 2]++;
    for (int64_t unit = 0; unit < in; unit++) starts[unit + 2] += starts[unit + 1];
    for (int64_t row = 0; row < rows; row++)
        for (int32_t i = 0; i < counts[row]; i++) {
            const Winner winner = lists[row * in + i];
            by_unit[starts[winner.index + 1]++] = (Winner){(int32_t)row, winner.value};
        }
}

/* w_gradient[e] = y_gradient[e]^T . winners, [out][in]; 0 if there is no memory. */
int winners_weight_gradient(const Winner *lists, const int32_t *counts, int64_t stack, int64_t rows,
                            int64_t in, int64_t out, const float *y_gradient, float *w_gradient,
                            int threads) {
    const int64_t blocks = blocks_of(out, BLOCK);
    float *packed = allocate(stack * blocks * rows * BLOCK);
    float *sums = allocate(stack * blocks * in * BLOCK);
    Winner *by_unit = (Winner *)allocate(2 * stack * rows * in);
    int64_t *starts = (int64_t *)allocate(2 * stack * (in + 2));
    const int enough = packed && sums && by_unit && starts;
    if (enough) {
#pragma omp parallel num_threads(threads)
        {
#pragma omp for schedule(static) nowait
            for (int64_t e = 0; e < stack; e++)
                lists_by_unit(lists + e * rows * in, counts + e * rows, rows, in,
                              by_unit + e * rows * in, starts + e * (in + 2));
#pragma omp for schedule(static)
            for (int64_t one = 0; one < stack * blocks; one++)
                copy_block(y_gradient + one / blocks * rows * out, rows, out, one % blocks * BLOCK,
                           packed + one * rows * BLOCK);
            for (int64_t one = 0; one < stack * blocks; one++) {
                const int64_t *start = starts + one / blocks * (in + 2);
                const Winner *list = by_unit + one / blocks * rows * in;
                Sums *of = (Sums *)(sums + one * in * BLOCK);
#pragma omp for schedule(static) nowait
                for (int64_t unit = 0; unit < in; unit += 2) {
                    const int alone = unit + 1 == in;
                    const int64_t middle = start[unit + 1], end = alone ? middle : start[unit + 2];
                    Sums none, *second = alone ? &none : of + unit + 1;
                    sum_two(list + start[unit], middle - start[unit], list + middle, end - middle,
                            packed + one * rows * BLOCK, of + unit, second);
                }
            }
#pragma omp barrier
#pragma omp for schedule(static)
            for (int64_t one = 0; one < stack * blocks; one++) {
                const int64_t first = one % blocks * BLOCK, there = smaller(BLOCK, out - first);
                const float *block = sums + one * in * BLOCK;
                float *result = w_gradient + (one / blocks * out + first) * in;
                for (int64_t start = 0; start < in; start += 16)
                    for (int64_t column = 0; column < there; column++)
                        for (int64_t unit = start; unit < smaller(start + 16, in); unit++)
                            result[column * in + unit] = block[unit * BLOCK + column];
            }
        }
    }
    free(packed), free(sums), free(by_unit), free(starts);
    return enough;
}
