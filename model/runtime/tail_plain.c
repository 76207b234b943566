/* The last step on any processor: vectors of four, which SSE and NEON have, by the compiler's own means. */
#include <stdint.h>

#define LANES 4
#define FORM(name) name##_plain
#define CODE

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

/* Lane by lane: `yes` where the condition is -1, `no` where it is 0. */
static inline floats where(ints condition, floats yes, floats no)
{
    return (floats)((condition & (ints)yes) | (~condition & (ints)no));
}

/* The larger one; `b` where `a` is not a number. */
static inline floats largest_of(floats a, floats b)
{
    return where(a > b, a, b);
}

static inline floats least_of(floats a, floats b)
{
    return where(a < b, a, b);
}

static inline int any(ints condition)
{
    return condition[0] | condition[1] | condition[2] | condition[3];
}

#include "tail_f32.h"

int fcn_has_plain(void)
{
    return 1;
}
