/* The rows and columns of a matrix in which something happens, taken out as a small dense block, and put
 * back (dendrites/active_product.py). Blocks hold float32, or bfloat16 as the upper half of a float32,
 * rounded to the nearest, ties to even.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint16_t to_bfloat16(float x) {
    const uint32_t bits = bits_of(x), rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded >> 16); /* NaN stays one */
}

static float from_bfloat16(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The columns of matrix[rows][columns] that are not 0 throughout, in order, and after them as many of
 * the others as make their number a multiple of `multiple`, as far as there are any. Returns the number;
 * -1 if there is no memory. */
int64_t active_columns(const float *matrix, int64_t rows, int64_t columns, int64_t multiple,
                       int32_t *active) {
    uint32_t *seen = calloc((size_t)columns, sizeof *seen);
    if (!seen) return -1;
    for (int64_t row = 0; row < rows; row++) {
        const float *x = matrix + row * columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) seen[c] |= bits_of(x[c]) << 1; /* -0 is 0 */
    }
    int64_t count = 0;
    for (int64_t c = 0; c < columns; c++)
        if (seen[c]) active[count++] = (int32_t)c;
    for (int64_t c = 0; c < columns && count % multiple; c++)
        if (!seen[c]) active[count++] = (int32_t)c;
    free(seen);
    return count;
}

/* block[i][j] = matrix[rows[i]][columns[j]], times the same of `mask` unless it is NULL. `rows` NULL means
 * all; `width` is that of the matrix. */
void gather_block(const float *matrix, const float *mask, int64_t width, const int32_t *rows,
                  int64_t row_count, const int32_t *columns, int64_t column_count, int bfloat16,
                  void *block, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < row_count; i++) {
        const int64_t start = (rows ? rows[i] : i) * width;
        const float *x = matrix + start, *kept = mask ? mask + start : 0;
        float *whole = (float *)block + i * column_count;
        uint16_t *half = (uint16_t *)block + i * column_count;
        if (bfloat16 && mask) {
#pragma omp simd
            for (int64_t j = 0; j < column_count; j++)
                half[j] = to_bfloat16(x[columns[j]] * kept[columns[j]]);
        } else if (bfloat16) {
#pragma omp simd
            for (int64_t j = 0; j < column_count; j++) half[j] = to_bfloat16(x[columns[j]]);
        } else if (mask) {
#pragma omp simd
            for (int64_t j = 0; j < column_count; j++) whole[j] = x[columns[j]] * kept[columns[j]];
        } else {
#pragma omp simd
            for (int64_t j = 0; j < column_count; j++) whole[j] = x[columns[j]];
        }
    }
}

/* matrix[rows[i]][columns[j]] = block[i][j], times the same of `mask` unless it is NULL, and 0 everywhere
 * else; `height` and `width` are those of the matrix. */
void scatter_block(const void *block, int bfloat16, const int32_t *rows, int64_t row_count,
                   const int32_t *columns, int64_t column_count, const float *mask, int64_t height,
                   int64_t width, float *matrix, int threads) {
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t row = 0; row < height; row++) memset(matrix + row * width, 0, 4 * (size_t)width);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < row_count; i++) {
            const int64_t start = (rows ? rows[i] : i) * width;
            const float *whole = (const float *)block + i * column_count;
            const uint16_t *half = (const uint16_t *)block + i * column_count;
            for (int64_t j = 0; j < column_count; j++) {
                const int64_t at = start + columns[j];
                const float value = bfloat16 ? from_bfloat16(half[j]) : whole[j];
                matrix[at] = mask ? value * mask[at] : value;
            }
        }
    }
}
