/* What the products of winners share: vectors, blocks of columns, transposition, weighted sums of rows. */
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
#define INLINE static inline __attribute__((always_inline))

enum { VECTORS = 4, BLOCK = VECTORS * LANES, TILE_ROWS = 128 };

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16)));

INLINE int64_t blocks_of(int64_t columns, int64_t width) { return (columns + width - 1) / width; }

INLINE float *allocate(int64_t floats) {
    size_t bytes = (size_t)(floats * 4 + 63) / 64 * 64;
    return aligned_alloc(64, bytes ? bytes : 64);
}

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

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

/* The same, and 0 from `rows` to `width`. */
INLINE void transpose_padded(const float *from, int64_t rows, int64_t columns, int64_t stride,
                             float *to, int64_t width) {
    transpose(from, rows, columns, stride, to, width);
    for (int64_t c = 0; c < columns && rows < width; c++)
        memset(to + c * width + rows, 0, 4 * (size_t)(width - rows));
}

INLINE void store(const Vector *sums, float *to, int64_t columns) {
    if (columns >= BLOCK)
        memcpy(to, sums, 4 * BLOCK);
    else
        memcpy(to, sums, 4 * (size_t)columns);
}

/* Weighted sums of the rows of a block, one for each of two lists; added to those there if `goes_on`. */
INLINE void sum_two(const Winner *a, int64_t count_a, const Winner *b, int64_t count_b,
                    const float *block, int goes_on, float *to_a, float *to_b, int64_t columns) {
    Vector sums_a[VECTORS] = {0}, sums_b[VECTORS] = {0};
    if (goes_on) {
        memcpy(sums_a, to_a, sizeof sums_a);
        memcpy(sums_b, to_b, sizeof sums_b);
    }
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
