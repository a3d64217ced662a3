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
enum { VECTORS = 4, BLOCK = VECTORS * LANES, TILE_ROWS = 128 };

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16)));

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

enum { TILE = 16 }; /* columns of a transposition: a line of the cache */

INLINE void transpose_tile(const float *from, int64_t rows, int64_t columns, int64_t stride, float *to,
                           int64_t width) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t c = 0; c < columns; c++) to[c * width + row] = from[row * stride + c];
}

/* to[column][width] = from[row][stride] for so many rows and columns. */
INLINE void transpose(const float *from, int64_t rows, int64_t columns, int64_t stride, float *to,
                      int64_t width) {
    int64_t c = 0;
    for (; c + TILE <= columns; c += TILE)
        transpose_tile(from + c, rows, TILE, stride, to + c * width, width);
    transpose_tile(from + c, rows, columns - c, stride, to + c * width, width);
}

/* The same of a whole matrix, and 0 from `rows` to `width`. */
INLINE void transpose_padded(const float *from, int64_t rows, int64_t columns, float *to,
                             int64_t width) {
    transpose(from, rows, columns, columns, to, width);
    for (int64_t c = 0; c < columns && rows < width; c++)
        memset(to + c * width + rows, 0, 4 * (size_t)(width - rows));
}

INLINE void store(const Vector *sums, float *to, int64_t columns) {
    if (columns >= BLOCK)
        memcpy(to, sums, 4 * BLOCK);
    else
        memcpy(to, sums, 4 * (size_t)columns);
}

/* Weighted sums of the rows of a block, one for each of two lists. */
INLINE void sum_two(const Winner *a, int64_t count_a, const Winner *b, int64_t count_b,
                    const float *block, float *to_a, float *to_b,
                    int64_t columns) {
    Vector sums_a[VECTORS] = {0}, sums_b[VECTORS] = {0};
    int64_t i = 0;
#define ADD(sums, list)                                                               \
    {                                                                                 \
        const Vector *row = (const Vector *)(block + (int64_t)list[i].index * BLOCK); \
        const float value = list[i].value;                                            \
        for (int v = 0; v < VECTORS; v++) sums[v] += value * row[v];                  \
    }
    for (; i < count_a && i < count_b; i++) {
        ADD(sums_a, a)
        ADD(sums_b, b)
    }
    const int64_t both = i;
    for (; i < count_a; i++) ADD(sums_a, a)
    for (i = both; i < count_b; i++) ADD(sums_b, b)
#undef ADD
    store(sums_a, to_a, columns);
    store(sums_b, to_b, columns);
}

INLINE float total(Vector x) {
    Quad quads[LANES / 4];
    memcpy(quads, &x, sizeof x);
    for (int half = LANES / 8; half >= 1; half /= 2)
        for (int q = 0; q < half; q++) quads[q] += quads[q + half];
    return (quads[0][0] + quads[0][2]) + (quads[0][1] + quads[0][3]);
}

/* y[e] = winners of sample [rows] . weight[e]^T, for `stack` maps e; 0 if there is no memory. */
int winners_product(const Winner *lists, const Span *spans, int64_t stack, int64_t rows, int64_t in,
                    const float *weight, int64_t out, float *y, int threads) {
    const int64_t blocks = blocks_of(out, BLOCK), tiles = blocks_of(rows, TILE_ROWS);
    float *packed = allocate(stack * blocks * in * BLOCK);
    if (!packed) return 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t one = 0; one < stack * blocks; one++) {
            const int64_t first = one % blocks * BLOCK;
            transpose_padded(weight + (one / blocks * out + first) * in, smaller(BLOCK, out - first), in,
                             packed + one * in * BLOCK, BLOCK);
        }
#pragma omp for schedule(static)
        for (int64_t tile = 0; tile < stack * tiles; tile++) {
            const int64_t e = tile / tiles, begin = e * rows + tile % tiles * TILE_ROWS;
            const int64_t end = smaller(begin + TILE_ROWS, (e + 1) * rows);
            for (int64_t first = 0; first < out; first += BLOCK) {
                const float *block = packed + (e * blocks * BLOCK + first) * in;
                for (int64_t row = begin; row < end; row += 2) {
                    const Span a = spans[row], b = row + 1 < end ? spans[row + 1] : (Span){0, 0};
                    float *to = y + row * out + first, none[BLOCK];
                    sum_two(lists + a.start, a.count, lists + b.start, b.count, block, to,
                            row + 1 < end ? to + out : none, out - first);
                }
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
int winners_input_gradient(const Winner *lists, const Span *spans, int64_t stack, int64_t rows,
                           int64_t in, const float *weight, int64_t out, const float *y_gradient,
                           float *z_gradient, int threads) {
    const int64_t width = blocks_of(out, LANES) * LANES;
    float *transposed = allocate(stack * in * width);
    if (!transposed) return 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t e = 0; e < stack; e++)
            transpose_padded(weight + e * out * in, out, in, transposed + e * in * width, width);
        float own[width];
        memset(own, 0, sizeof own);
#pragma omp for schedule(static)
        for (int64_t row = 0; row < stack * rows; row++) {
            const float *weights = transposed + row / rows * in * width;
            const float *gradient = y_gradient + row * out;
            if (width != out) gradient = memcpy(own, gradient, 4 * (size_t)out);
            const Winner *list = lists + spans[row].start;
            float *result = z_gradient + row * in;
            memset(result, 0, 4 * (size_t)in);
            int64_t i = 0, count = spans[row].count;
            for (; i + 8 <= count; i += 8) dots(list + i, 8, gradient, weights, width, result);
            for (; i + 4 <= count; i += 4) dots(list + i, 4, gradient, weights, width, result);
            for (; i < count; i++) dots(list + i, 1, gradient, weights, width, result);
        }
    }
    free(transposed);
    return 1;
}

/* The rows in which each unit from `begin` to `end` wins: `by_unit[starts[i]]` to
 * `by_unit[starts[i + 1]]` for unit begin + i. */
static void lists_by_unit(const Winner *lists, const Span *spans, int64_t rows, int64_t begin,
                          int64_t end, Winner *by_unit, int64_t *starts) {
    memset(starts, 0, sizeof(int64_t) * (size_t)(end - begin + 2));
    for (int writes = 0; writes <= 1; writes++) { /* counts first */
        for (int64_t row = 0; row < rows; row++) {
            const Winner *winner = lists + spans[row].start, *last = winner + spans[row].count;
            while (winner < last && winner->index < begin) winner++;
            for (; winner < last && winner->index < end; winner++)
                if (writes)
                    by_unit[starts[winner->index - begin + 1]++] = (Winner){(int32_t)row, winner->value};
                else
                    starts[winner->index - begin + 2]++;
        }
        for (int64_t i = 0; i < end - begin && !writes; i++) starts[i + 2] += starts[i + 1];
    }
}

/* Columns `begin` to `end` of a weight gradient [out][in]; `packed` are the blocks of y's gradient. */
static void gradient_of_units(const Winner *by_unit, const int64_t *starts, int64_t begin, int64_t end,
                              int64_t rows, int64_t in, int64_t out, const float *packed, float *sums,
                              float *w_gradient) {
    for (int64_t first = 0; first < out; first += BLOCK) {
        for (int64_t unit = begin; unit < end; unit += 2) {
            const int64_t *start = starts + unit - begin, two = unit + 1 < end;
            float none[BLOCK], *to = sums + (unit - begin) * BLOCK;
            sum_two(by_unit + start[0], start[1] - start[0], by_unit + start[1],
                    two ? start[2] - start[1] : 0, packed + first * rows, to, two ? to + BLOCK : none,
                    BLOCK);
        }
        transpose(sums, end - begin, smaller(BLOCK, out - first), BLOCK, w_gradient + first * in + begin,
                  in);
    }
}

/* w_gradient[e] = y_gradient[e]^T . winners, [out][in]; 0 if there is no memory. Each thread makes the
 * lists of its own units, so that they stay in its core's caches. */
int winners_weight_gradient(const Winner *lists, const Span *spans, int64_t stack, int64_t rows,
                            int64_t in, int64_t out, const float *y_gradient, float *w_gradient,
                            int threads) {
    const int64_t share = blocks_of(blocks_of(in, threads), 16) * 16; /* whole lines of the caches */
    float *packed = allocate(blocks_of(out, BLOCK) * rows * BLOCK), *sums = allocate(in * BLOCK);
    Winner *by_unit = (Winner *)allocate(2 * rows * in);
    int64_t *starts = (int64_t *)allocate(2 * (in + 16 * threads));
    const int enough = packed && sums && by_unit && starts;
    if (enough) {
#pragma omp parallel num_threads(threads)
        for (int64_t e = 0; e < stack; e++) {
#pragma omp for schedule(static)
            for (int64_t first = 0; first < out; first += BLOCK)
                copy_block(y_gradient + e * rows * out, rows, out, first, packed + first * rows);
#pragma omp for schedule(static)
            for (int64_t part = 0; part < blocks_of(in, share); part++) {
                const int64_t begin = part * share, end = smaller(begin + share, in);
                int64_t *start = starts + begin + 16 * part;
                Winner *own = by_unit + begin * rows;
                lists_by_unit(lists, spans + e * rows, rows, begin, end, own, start);
                gradient_of_units(own, start, begin, end, rows, in, out, packed, sums + begin * BLOCK,
                                  w_gradient + e * out * in);
            }
        }
    }
    free(packed), free(sums), free(by_unit), free(starts);
    return enough;
}
