/* The last step of an FCN: coarse scores to a label map and a confidence, without ever holding the scores of all
 * classes at the picture's size.
 *
 * A transposed convolution with kernel 2s and stride s, its coarse map replicate-padded by one and its result
 * cropped, is s * s small filters: with u = y + s / 2, the pixel y lies in cell row u / s at phase u % s, and its
 * score is a weighted sum of the four coarse scores around it, with the weights of its phase. Pixels of one phase in
 * neighbouring cells have the same weights, so sixteen of them are worked out at once; label and confidence, a byte
 * each, are what is put in the picture's order in the end.
 *
 * The four coarse scores and the filters of a class bound its scores at all phases of a cell. A class that
 * stays below the surely largest one by so much that it is nothing in the sum is left out there: of many classes few
 * remain where a network is sure. The confidence is the softmax of the largest score, 1 / sum exp(score - largest). The
 * largest is known only after the last class; its lower bound serves as well, but where the bounds are so far apart
 * that exp might overflow: those pixels are done twice, with the score found.
 *
 * Vectors are those of GCC and Clang: sixteen floats, which the compiler splits for processors with shorter ones.
 */
#include <stdint.h>
#include <string.h>

#include "tail.h"

enum { NEIGHBOURS = 4 };

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* One machine code for each generation of processors, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

INLINE floats where(ints condition, floats yes, floats no)
{
    return (floats)((condition & (ints)yes) | (~condition & (ints)no));
}

/* 2^x to 5 digits for x up to 126; below -120 it is 2^-120, which is nothing beside the largest term. */
INLINE floats exp2_of(floats x)
{
    const floats lowest = (floats){} - 120.0f, magic = (floats){} + 12582912.0f; /* 1.5 * 2^23 rounds to whole numbers */
    x = where(x > lowest, x, lowest);
    const floats shifted = x + magic, rest = x - (shifted - magic);
    floats power = rest * 0.00961813f + 0.05550411f; /* Taylor's of 2^rest, rest within a half */
    power = power * rest + 0.24022651f;
    power = power * rest + 0.69314718f;
    power = power * rest + 1.0f;
    return (floats)((ints)power + ((ints)shifted << 23));
}

/* What is known of sixteen pixels after some of the classes; scores are in units of log 2 and from a reference. */
typedef struct {
    floats largest, sum;
    ints label;
} found;

INLINE found nothing_yet(void)
{
    return (found){(floats){} + LOWEST, (floats){}, (ints){}};
}

INLINE void see(found *so_far, floats score, int32_t label)
{
    const ints more = score > so_far->largest;
    so_far->largest = where(more, score, so_far->largest);
    so_far->label = (more & ((ints){} + label)) | (~more & so_far->label);
    so_far->sum += exp2_of(score);
}

/* Where sixteen cells of one phase lie in a row of the picture. */
typedef struct {
    long start, factor, width;
} row;

INLINE void write(found seen, row at, uint8_t *labels, uint8_t *confidences)
{
    const floats share = exp2_of(seen.largest) / seen.sum * 255.0f + 0.5f;
    const ints level = __builtin_convertvector(where(share < 255.5f, share, (floats){} + 255.0f), ints);
    int32_t label[LANES], confidence[LANES]; /* single lanes are read from memory faster than from a vector */
    memcpy(label, &seen.label, sizeof label);
    memcpy(confidence, &level, sizeof confidence);
    const int inside = at.start >= 0 && at.start + (LANES - 1) * at.factor < at.width;
    for (long lane = 0; lane < LANES; lane++) {
        const long x = at.start + lane * at.factor;
        if (inside || (x >= 0 && x < at.width)) {
            labels[x] = (uint8_t)label[lane];
            confidences[x] = (uint8_t)confidence[lane];
        }
    }
}

/* Sixteen values of a line from `start` on; beyond its ends those at the ends. */
INLINE floats load(const float *line, long start, long length)
{
    floats values;
    if (start >= 0 && start + LANES <= length)
        memcpy(&values, line + start, sizeof values);
    else
        for (long lane = 0; lane < LANES; lane++)
            values[lane] = line[within(start + lane, length)];
    return values * LOG2_E;
}

INLINE int any(ints condition)
{
    int found = 0;
    for (long lane = 0; lane < LANES; lane++)
        found |= condition[lane];
    return found;
}

INLINE floats largest_of(floats a, floats b)
{
    return where(a > b, a, b);
}

INLINE floats least_of(floats a, floats b)
{
    return where(a < b, a, b);
}

/* The largest score that the filters can make of neighbours between `low` and `high`. */
INLINE floats reach(floats low, floats high, float least_up, float most_up, float least_down, float most_down)
{
    const floats up = where(high > 0.0f, (floats){} + most_up, (floats){} + least_up) * high;
    return up - where(low < 0.0f, (floats){} + most_down, (floats){} + least_down) * low;
}

/* Label the pixels of cell rows, of which there is one more than of coarse ones. Each is taken from `next`, which is 0 at
 * first, by whoever is free: several threads call this with all else the same, and share the rows as they come.
 *
 * scores       (classes, height, width)
 * weights      (factor, factor, classes, 4): by phase, of the scores above left, above right, below left, below right
 * sums         (classes): of those weights
 * labels, confidences  (height * factor, width * factor)
 */
FOR_EACH_PROCESSOR
void fcn_label(const float *scores, const float *weights, const filter_sums *sums, long classes, long height, long width,
               long factor, long *next, uint8_t *labels, uint8_t *confidences)
{
    floats near[MOST_CLASSES][NEIGHBOURS], upper[MOST_CLASSES];
    int32_t kept[MOST_CLASSES];
    for (long cell_row; (cell_row = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) <= height;) {
        const long above = within(cell_row - 1, height) * width, below = within(cell_row, height) * width;
        for (long cell = 0; cell <= width; cell += LANES) {
            floats surely = (floats){} + LOWEST, at_most = surely;
            for (long class = 0; class < classes; class++) {
                const float *map = scores + class * height * width;
                floats *own = near[class];
                for (int n = 0; n < NEIGHBOURS; n++)
                    own[n] = load(map + (n < 2 ? above : below), cell - 1 + n % 2, width);
                const floats low = least_of(least_of(own[0], own[1]), least_of(own[2], own[3]));
                const floats high = largest_of(largest_of(own[0], own[1]), largest_of(own[2], own[3]));
                const filter_sums sum = sums[class];
                upper[class] = reach(low, high, sum.least_above, sum.most_above, sum.least_below, sum.most_below);
                const floats lower = -reach(-high, -low, sum.least_above, sum.most_above, sum.least_below, sum.most_below);
                surely = largest_of(lower, surely);
                at_most = largest_of(upper[class], at_most);
            }
            long count = 0;
            for (long class = 0; class < classes; class++)
                if (any(upper[class] > surely - (float)NOTHING)) {
                    kept[count] = (int32_t)class;
                    memmove(near[count++], near[class], sizeof near[class]);
                }
            const int passes = any(at_most - surely > (float)FAR) ? 2 : 1;
            for (long i = 0; i < factor; i++) {
                const long y = cell_row * factor + i - factor / 2;
                if (y < 0 || y >= height * factor)
                    continue;
                for (long j = 0; j < factor; j++) {
                    const float *filters = weights + (i * factor + j) * classes * NEIGHBOURS;
                    floats reference = surely;
                    found seen;
                    for (int pass = 0; pass < passes; pass++) {
                        if (pass)
                            reference += seen.largest;
                        seen = nothing_yet();
                        for (long k = 0; k < count; k++) {
                            const float *filter = filters + kept[k] * NEIGHBOURS;
                            floats score = near[k][0] * filter[0] - reference;
                            score = near[k][1] * filter[1] + score;
                            score = near[k][2] * filter[2] + score;
                            score = near[k][3] * filter[3] + score;
                            see(&seen, score, kept[k]);
                        }
                    }
                    const row at = {cell * factor + j - factor / 2, factor, width * factor};
                    write(seen, at, labels + y * at.width, confidences + y * at.width);
                }
            }
        }
    }
}

/* Label the pixels of a strip of cell rows whose scores are there, phase by phase. The first of its `rows` is the
 * picture's `top`; each is taken from `next`, as above.
 *
 * scores       (factor, factor, classes, rows, width + 1)
 * labels, confidences  (height * factor, width * factor)
 */
FOR_EACH_PROCESSOR
void fcn_label_phases(const float *scores, long classes, long height, long width, long factor, long top, long rows,
                      long *next, uint8_t *labels, uint8_t *confidences)
{
    const long cells = width + 1, map = rows * cells;
    for (long r; (r = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < rows;)
        for (long i = 0; i < factor; i++) {
            const long y = (top + r) * factor + i - factor / 2;
            if (y < 0 || y >= height * factor)
                continue;
            for (long j = 0; j < factor; j++) {
                const float *line = scores + (i * factor + j) * classes * map + r * cells;
                for (long cell = 0; cell < cells; cell += LANES) {
                    floats own[MOST_CLASSES], reference = (floats){} + LOWEST;
                    for (long class = 0; class < classes; class++) {
                        own[class] = load(line + class * map, cell, cells);
                        reference = where(own[class] > reference, own[class], reference);
                    }
                    found seen = nothing_yet();
                    for (long class = 0; class < classes; class++)
                        see(&seen, own[class] - reference, (int32_t)class);
                    const row at = {cell * factor + j - factor / 2, factor, width * factor};
                    write(seen, at, labels + y * at.width, confidences + y * at.width);
                }
            }
        }
}
