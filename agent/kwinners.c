/* k-winners-take-all: a threshold that exactly the k largest of a row (and ties) reach, unsorted.
 *
 * A bracket [lo, hi) with count(x >= lo) >= k > count(x >= hi) is narrowed, by interpolation on the
 * counts and bisection in turn, until exactly k values lie above lo or no float lies between. That
 * takes about six counting passes for a row of activations, each one vector compare per 16 values; a
 * selection by sorting, as torch.topk does it, takes many times as long.
 */
#include <math.h>
#include <stdint.h>

static int32_t count_at_least(const float *x, int64_t n, float threshold) {
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++) count += x[i] >= threshold;
    return count;
}

static float winning_threshold(const float *x, int64_t n, int64_t k) {
    float lo = INFINITY, hi = -INFINITY;
    int32_t finite = 0;
#pragma omp simd reduction(min : lo) reduction(max : hi) reduction(+ : finite)
    for (int64_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
        finite += fabsf(x[i]) < INFINITY;
    }
    if (finite < n) return NAN; /* nothing compares below NaN: the caller keeps the whole row */
    int32_t count_lo = (int32_t)n, count_hi = count_at_least(x, n, hi);
    if (count_hi >= k) return hi;
    for (int pass = 0;; pass++) {
        float part = pass % 2 ? 0.5f : (count_lo - k + 0.5f) / (count_lo - count_hi);
        float middle = lo + (hi - lo) * part;
        if (!(middle > lo && middle < hi)) middle = lo * 0.5f + hi * 0.5f;
        if (!(middle > lo && middle < hi)) break; /* neighbouring floats: lo is the answer */
        int32_t count = count_at_least(x, n, middle);
        if (count >= k) {
            lo = middle, count_lo = count;
            if (count == k) break;
        } else {
            hi = middle, count_hi = count;
        }
    }
    return lo; /* exactly k values are at least lo, or lo is the k-th largest itself */
}

/* out = the winners of x, 0 elsewhere; a row with a NaN or infinity is copied whole. */
void k_winners(const float *x, int64_t rows, int64_t n, int64_t k, float *out) {
    for (int64_t row = 0; row < rows; row++, x += n, out += n) {
        float threshold = winning_threshold(x, n, k);
        for (int64_t i = 0; i < n; i++) out[i] = x[i] < threshold ? 0.0f : x[i];
    }
}

/* out = the gradient where the unit won, recognised by its non-zero output. */
void k_winners_backward(const float *grad, const float *winners, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = winners[i] != 0.0f ? grad[i] : 0.0f;
}
