/* The products of a linear layer whose input are winners: every multiplication with a 0 is left out.
 * The weight gradient is in winners_weight_gradient.c.
 *
 * Forward and weight gradient are weighted sums of rows: of the transposed weights for each sample, and
 * of the output's gradients for each unit. The sums stay in registers while a list of winners is gone
 * through, for two lists at a time, because one alone waits for its own additions. Columns are taken in
 * blocks, and copied so that a block is contiguous and fits the first cache. The input gradient is a dot
 * product for each winner; a loser's is 0.
 *
 * Each number is a sum in an order of its own: it depends neither on threads nor on the other rows.
 */
#include "blocks.h"

enum { SHARE = 64 }; /* columns of a transposition that one thread does */

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
                             in, packed + one * in * BLOCK, BLOCK);
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
                    sum_two(lists + a.start, a.count, lists + b.start, b.count, block, 0, to,
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
    const int64_t width = blocks_of(out, LANES) * LANES, shares = blocks_of(in, SHARE);
    float *transposed = allocate(stack * in * width);
    if (!transposed) return 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t one = 0; one < stack * shares; one++) {
            const int64_t e = one / shares, first = one % shares * SHARE;
            transpose_padded(weight + e * out * in + first, out, smaller(SHARE, in - first), in,
                             transposed + (e * in + first) * width, width);
        }
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
