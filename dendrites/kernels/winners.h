/* The winners of a row, as the kernels pass them on: which units, with which values. */
#include <stdint.h>

typedef struct {
    int32_t index; /* of the unit; in a list that belongs to a unit, of the row */
    float value;   /* never 0 */
} Winner;

typedef struct {
    int64_t start, count; /* of a row's list, in the array of all lists */
} Span;
