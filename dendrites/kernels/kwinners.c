/* k-winners-take-all: a threshold that exactly the k largest of a row (and ties) reach, unsorted.
 *
 * A bracket [lo, hi) with count(x >= lo) >= k > count(x >= hi) is narrowed until exactly k values lie
 * above lo or no float lies between. Neighbouring rows have similar activations, so the search starts
 * at the threshold of the row before, steps by the spacing of values seen there, and then interpolates
 * on the counts. A pass counts for three thresholds at once, and about two follow the first; each is
 * three vector compares per 8 or 16 values. A selection by sorting, as torch.topk does it, takes many
 * times as long.
 */
#include <math.h>

#include "winners.h"

typedef struct {
    float threshold; /* of the row before */
    float spacing;   /* between neighbouring values near the threshold, averaged over rows */
} Guess;

typedef struct {
    float lo, hi; /* count(x >= lo) >= k > count(x >= hi); at first hi is the largest value itself */
    int32_t count_lo, count_hi; /* of values >= lo, and >= hi (at first: > hi) */
} Bracket;

static int is_inside(float x, const Bracket *bracket) { return x > bracket->lo && x < bracket->hi; }

static void narrow(Bracket *bracket, float threshold, int32_t count, int64_t k) {
    if (!is_inside(threshold, bracket)) return;
    if (count >= k)
        bracket->lo = threshold, bracket->count_lo = count;
    else
        bracket->hi = threshold, bracket->count_hi = count;
}

/* One pass for three thresholds: `middle`, and one `step` to either side. */
static void count_three(const float *x, int64_t n, int64_t k, float middle, float step,
                        Bracket *bracket) {
    const float below = middle - step, above = middle + step;
    int32_t count_below = 0, count = 0, count_above = 0;
#pragma omp simd reduction(+ : count_below, count, count_above)
    for (int64_t i = 0; i < n; i++) {
        count_below += x[i] >= below;
        count += x[i] >= middle;
        count_above += x[i] >= above;
    }
    narrow(bracket, middle, count, k);
    narrow(bracket, below, count_below, k);
    narrow(bracket, above, count_above, k);
}

static int32_t count_at_least(const float *x, int64_t n, float threshold) {
    int32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = 0; i < n; i++) count += x[i] >= threshold;
    return count;
}

static float winning_threshold(const float *x, int64_t n, int64_t k, Guess *guess) {
    const float first = guess->threshold;
    float lo = INFINITY, hi = -INFINITY, nan_if_faulty = 0.0f;
    int32_t count = 0;
#pragma omp simd reduction(min : lo) reduction(max : hi) reduction(+ : nan_if_faulty, count)
    for (int64_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
        nan_if_faulty += x[i] * 0.0f;
        count += x[i] >= first;
    }
    if (nan_if_faulty != 0.0f) return NAN; /* nothing compares below: the caller keeps the row */
    const float largest = hi;
    Bracket bracket = {lo, hi, (int32_t)n, 0};
    narrow(&bracket, first, count, k);
    float spacing = guess->spacing, middle = first + (count - k) * spacing, step = 2.0f * spacing;
    for (int pass = 1; bracket.count_lo != k; pass++) {
        const float half = (bracket.hi - bracket.lo) * 0.5f;
        if (pass % 4 == 0) middle = bracket.lo + half, step = half * 0.5f; /* bounds the passes */
        if (!is_inside(middle, &bracket)) middle = bracket.lo + half;
        if (!is_inside(middle, &bracket)) middle = bracket.lo * 0.5f + bracket.hi * 0.5f; /* overflow */
        if (!is_inside(middle, &bracket)) break; /* neighbouring floats */
        count_three(x, n, k, middle, step, &bracket);
        spacing = step = (bracket.hi - bracket.lo) / (bracket.count_lo - bracket.count_hi);
        middle = bracket.lo + spacing * (bracket.count_lo - k + 0.5f);
    }
    if (bracket.hi == largest && count_at_least(x, n, largest) >= k) return largest;
    guess->threshold = bracket.lo;
    guess->spacing += 0.1f * (spacing - guess->spacing);
    return bracket.lo; /* exactly k values are at least lo, or lo is the k-th largest itself */
}

/* out = the winners of x, 0 elsewhere; a row with a NaN or infinity is copied whole. */
void k_winners(const float *x, int64_t rows, int64_t n, int64_t k, float *out, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Guess guess = {0.0f, 0.01f};
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            const float *in = x + row * n;
            float *winners = out + row * n, threshold = winning_threshold(in, n, k, &guess);
            for (int64_t i = 0; i < n; i++) winners[i] = in[i] < threshold ? 0.0f : in[i];
        }
    }
}

/* The same winners as lists in the order of their units, for the products of winners_product.c; those
 * that are 0 are left out. `lists` has room for n of every row. */
void k_winners_lists(const float *x, int64_t rows, int64_t n, int64_t k, Winner *lists, Span *spans,
                     int threads) {
#pragma omp parallel num_threads(threads)
    {
        Guess guess = {0.0f, 0.01f};
        int32_t wins[n];
        int64_t next = -1; /* the lists of a thread lie one after the other, from its first row's on */
#pragma omp for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            const float *in = x + row * n, threshold = winning_threshold(in, n, k, &guess);
            for (int64_t i = 0; i < n; i++) wins[i] = !(in[i] < threshold) & (in[i] != 0.0f);
            if (next < 0) next = row * n;
            Span span = {next, 0};
            for (int32_t i = 0; i < n; i++) { /* without a branch: a loser is overwritten */
                lists[next] = (Winner){i, in[i]};
                next += wins[i];
            }
            span.count = next - span.start;
            spans[row] = span;
        }
    }
}

/* out = the gradient of the units that are active, recognised by their output. */
void gradient_of_active(const float *grad, const float *output, int64_t n, float *out, int threads) {
#pragma omp parallel for simd schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++) out[i] = output[i] != 0.0f ? grad[i] : 0.0f;
}
