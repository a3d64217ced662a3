/* The gradient of the weights of a linear layer whose input are winners: for each unit, a weighted sum
 * of the output's gradients over the rows in which it wins (winners_product.c tells the rest).
 */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "blocks.h"

static int thread_number(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* block[row][width] = columns [first, first + width) of matrix[rows][columns]; 0 beyond the last. */
static void copy_block(const float *matrix, int64_t rows, int64_t columns, int64_t first, float *block) {
    const int64_t there = smaller(BLOCK, columns - first);
    for (int64_t row = 0; row < rows; row++, block += BLOCK) {
        memcpy(block, matrix + row * columns + first, 4 * (size_t)there);
        memset(block + there, 0, 4 * (size_t)(BLOCK - there));
    }
}

/* What a thread needs for the weight gradient of up to `units` units: `counts` has a row for the
 * beginning of each tile of rows, and one for the end. */
typedef struct {
    int64_t units, room; /* of each unit in `by_unit` */
    float *block, *sums; /* [TILE_ROWS][BLOCK], [units][BLOCK] */
    Winner *by_unit;     /* [units][room] */
    int64_t *counts;     /* [tiles + 1][units] */
} Scratch;

INLINE int64_t room_for(int64_t rows) {
    return rows + 8; /* lists a power of two apart would share lines of the caches */
}

static int64_t scratch_floats(int64_t units, int64_t rows) {
    const int64_t counts = units * (blocks_of(rows, TILE_ROWS) + 1);
    return blocks_of(TILE_ROWS * BLOCK + units * BLOCK + 2 * units * room_for(rows) + 2 * counts, 16) * 16;
}

static Scratch lay_out(float *memory, int64_t units, int64_t rows) {
    float *sums = memory + TILE_ROWS * BLOCK;
    Winner *by_unit = (Winner *)(sums + units * BLOCK);
    int64_t *counts = (int64_t *)(by_unit + units * room_for(rows));
    return (Scratch){units, room_for(rows), memory, sums, by_unit, counts};
}

/* The rows in which each unit from `begin` to `end` wins, and where in its list a tile of rows begins. */
static void lists_by_unit(const Winner *lists, const Span *spans, int64_t rows, int64_t begin,
                          int64_t end, const Scratch *scratch) {
    int64_t *counts = scratch->counts;
    const size_t size = sizeof *counts * (size_t)scratch->units;
    memset(counts, 0, size);
    for (int64_t row = 0; row < rows; row++) {
        if (row % TILE_ROWS == 0) counts = memcpy(counts + scratch->units, counts, size);
        const Winner *winner = lists + spans[row].start, *last = winner + spans[row].count;
        while (winner < last && winner->index < begin) winner++;
        for (; winner < last && winner->index < end; winner++) {
            const int64_t unit = winner->index - begin;
            const Winner entry = {(int32_t)(row % TILE_ROWS), winner->value};
            scratch->by_unit[unit * scratch->room + counts[unit]++] = entry;
        }
    }
}

/* Adds what a tile of rows gives to the sums of so many units; `block` is the tile's. */
static void add_tile(const Scratch *scratch, int64_t tile, int64_t units) {
    const int64_t *from = scratch->counts + tile * scratch->units, *to = from + scratch->units;
    for (int64_t unit = 0; unit < units; unit += 2) {
        const int64_t other = unit + 1 < units ? unit + 1 : unit;
        const Winner *a = scratch->by_unit + unit * scratch->room + from[unit];
        const Winner *b = scratch->by_unit + other * scratch->room + from[other];
        const int64_t count_b = other > unit ? to[other] - from[other] : 0;
        float none[BLOCK] = {0}, *sums = scratch->sums + unit * BLOCK;
        sum_two(a, to[unit] - from[unit], b, count_b, scratch->block, 1, sums,
                other > unit ? sums + BLOCK : none, BLOCK);
    }
}

/* Columns `begin` to `end` of a weight gradient [out][in]. */
static void gradient_of_units(const Scratch *scratch, int64_t begin, int64_t end, int64_t rows,
                              int64_t in, int64_t out, const float *y_gradient, float *w_gradient) {
    for (int64_t first = 0; first < out; first += BLOCK) {
        memset(scratch->sums, 0, 4 * (size_t)((end - begin) * BLOCK));
        for (int64_t row = 0; row < rows; row += TILE_ROWS) {
            const int64_t tile_rows = smaller(TILE_ROWS, rows - row);
            copy_block(y_gradient + row * out, tile_rows, out, first, scratch->block);
            add_tile(scratch, row / TILE_ROWS, end - begin);
        }
        transpose(scratch->sums, end - begin, smaller(BLOCK, out - first), BLOCK,
                  w_gradient + first * in + begin, in);
    }
}

/* w_gradient[e] = y_gradient[e]^T . winners, [out][in]; 0 if there is no memory. A thread takes whole
 * maps where there are enough of them, else its share of the units, and copies what it reads itself:
 * what another core has written comes slowly. Rows are taken in tiles, so that a block of one fits the
 * first cache. */
int winners_weight_gradient(const Winner *lists, const Span *spans, int64_t stack, int64_t rows,
                            int64_t in, int64_t out, const float *y_gradient, float *w_gradient,
                            int threads) {
    const int64_t parts = blocks_of(threads, stack);
    const int64_t share = blocks_of(blocks_of(in, parts), 16) * 16; /* whole lines of the caches */
    const int64_t floats = scratch_floats(share, rows);
    float *memory = allocate(threads * floats);
    if (!memory) return 0;
#pragma omp parallel num_threads(threads)
    {
        const Scratch scratch = lay_out(memory + thread_number() * floats, share, rows);
#pragma omp for schedule(static)
        for (int64_t piece = 0; piece < stack * blocks_of(in, share); piece++) {
            const int64_t e = piece / blocks_of(in, share), begin = piece % blocks_of(in, share) * share;
            const int64_t end = smaller(begin + share, in);
            lists_by_unit(lists, spans + e * rows, rows, begin, end, &scratch);
            gradient_of_units(&scratch, begin, end, rows, in, out, y_gradient + e * rows * out,
                              w_gradient + e * out * in);
        }
    }
    free(memory);
    return 1;
}
