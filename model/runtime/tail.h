/* What the forms of the last step share. */
#ifndef TAIL_H
#define TAIL_H

#include <stdint.h>
#include <string.h>

enum {
    MOST_CLASSES = 256,
    MOST_FACTOR = 64,
    NOTHING = 24, /* powers of two by which a class stays below the largest and is nothing in the sum */
    FAR = 100     /* powers of two between bounds from which on exp might overflow */
};

static const float LOWEST = -3e38f, LOG2_E = 1.44269504f;

/* What the four filter weights of a class come to, over all phases: sums of those above nothing and of those below. */
typedef struct {
    float least_above, most_above, least_below, most_below;
} filter_sums;

/* The nearest index that a line of some length has. */
static inline __attribute__((always_inline)) long within(long index, long length)
{
    return index < 0 ? 0 : index < length ? index : length - 1;
}

#endif
