/* The last step of an FCN in 32-bit: coarse scores to a label map and a confidence, without ever holding the scores of
 * all classes at the picture's size.
 *
 * A transposed convolution with kernel 2s and stride s, its coarse map replicate-padded by one and its result
 * cropped, is s * s small filters: with u = y + s / 2, the pixel y lies in cell row u / s at phase u % s, and its
 * score is a weighted sum of the four coarse scores around it, with the weights of its phase. Pixels of one phase in
 * neighbouring cells have the same weights, so as many as a vector holds are worked out at once; label and confidence, a
 * byte each, are what is put in the picture's order in the end.
 *
 * The four coarse scores and the filters of a class bound its scores at all phases of a cell. A class that
 * stays below the surely largest one by so much that it is nothing in the sum is left out there: of many classes few
 * remain where a network is sure. The confidence is the softmax of the largest score, 1 / sum exp(score - largest): the
 * scores are noted and the largest is found in a first loop, label and sum in a second one.
 *
 * With a filter for each pair of classes a score is a sum over the neighbours of all classes: a matrix product.
 *
 * Each file that includes this one makes its functions for one generation of processors. It gives, before that,
 *   LANES                        floats in a vector of that generation: longer ones are taken apart lane by lane
 *   FORM(name)                   the name with the generation's
 *   CODE                         what its functions are marked with
 *   floats, ints                 vectors of so many 32-bit numbers, as GCC and Clang have them
 *   where, largest_of, least_of, any   see tail_plain.c
 */
#include "tail.h"

enum {
    NEIGHBOURS = 4,
    TOGETHER = 4,   /* phases, neighbours in a row, for which coarse scores are loaded once */
    ROW_VECTORS = 4, /* vectors of cells that dense filters of a phase are read for */
    SHARING = 2,    /* of these, how many are multiplied together, and */
    OUTPUTS = 6     /* by how many classes' filters: their sums stay in registers */
};

#define INLINE CODE static inline __attribute__((always_inline))
#define EACH(index, count) _Pragma("GCC unroll 8") for (int index = 0; index < count; index++)

/* 2^x to 4 digits for x up to 126; below -120 it is 2^-120, which is nothing beside the largest term. */
INLINE floats exp2_of(floats x)
{
    const floats magic = (floats){} + 12582912.0f; /* 1.5 * 2^23 rounds to whole numbers */
    x = largest_of(x, (floats){} - 120.0f);
    const floats shifted = x + magic, rest = x - (shifted - magic);
    floats power = rest * 0.05517167f + 0.24261113f; /* of 2^rest, rest within a half: largest error made least */
    power = power * rest + 0.69326099f;
    power = power * rest + 0.99992807f;
    return (floats)((ints)power + ((ints)shifted << 23));
}

/* Pixels of one phase in a vector of cells: the class of the largest score, and the sum of exp(score - largest). */
typedef struct {
    floats sum;
    ints label;
} found;

/* Judge by `count` scores, in powers of two, of which each is `step` vectors after the one before. Of equal ones the first
 * gives the label, so that the last is seen first. */
INLINE found judge(const floats *scores, long step, const int32_t *classes, long count, floats largest)
{
    found so_far = {(floats){}, (ints){}};
    for (long k = count; k-- > 0;) {
        const floats score = scores[k * step];
        so_far.label = (ints)where(score == largest, (floats)((ints){} + classes[k]), (floats)so_far.label);
        so_far.sum += exp2_of(score - largest);
    }
    return so_far;
}

/* All classes, for `judge`. */
INLINE void count_up(int32_t *classes, long count)
{
    for (long class = 0; class < count; class++)
        classes[class] = (int32_t)class;
}

/* What is labelled, and where to. Coarse scores are height x width; rows and columns of cells are one more. */
typedef struct {
    long classes, height, width, factor;
    uint8_t *labels, *confidences;
} picture;

/* The picture's row that a phase of a row of cells is; it may lie above or below the picture. */
INLINE long row_of(picture to, long cell_row, long phase)
{
    return cell_row * to.factor + phase - to.factor / 2;
}

/* A row of the picture over some cells, while its phases are worked out one after the other. */
typedef struct {
    uint8_t labels[ROW_VECTORS * LANES * MOST_FACTOR], confidences[ROW_VECTORS * LANES * MOST_FACTOR];
} piece;

/* Note the pixels of one phase of the cells from `cell` of the piece on. */
INLINE void note(piece *in, long cell, long phase, long factor, found seen)
{
    const floats share = 255.0f / seen.sum + 0.5f;
    const ints level = __builtin_convertvector(least_of(share, (floats){} + 255.0f), ints);
    int32_t label[LANES], confidence[LANES]; /* single lanes are read from memory faster than from a vector */
    memcpy(label, &seen.label, sizeof label);
    memcpy(confidence, &level, sizeof confidence);
    for (long lane = 0; lane < LANES; lane++) {
        in->labels[(cell + lane) * factor + phase] = (uint8_t)label[lane];
        in->confidences[(cell + lane) * factor + phase] = (uint8_t)confidence[lane];
    }
}

/* Put a piece of `cells` cells from `cell` on to its place in row y. */
INLINE void put(picture to, const piece *from, long y, long cell, long cells)
{
    const long width = to.width * to.factor, start = cell * to.factor - to.factor / 2, end = start + cells * to.factor;
    const long first = start > 0 ? start : 0, count = (end < width ? end : width) - first;
    memcpy(to.labels + y * width + first, from->labels + first - start, (size_t)count);
    memcpy(to.confidences + y * width + first, from->confidences + first - start, (size_t)count);
}

/* Values of a line from `start` on, in powers of two; beyond its ends those at the ends. */
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

/* The scores around a vector of cells: above left, above right, below left, below right. */
INLINE void load_around(floats *around, const float *map, picture from, long cell_row, long cell)
{
    const float *above = map + within(cell_row - 1, from.height) * from.width;
    const float *below = map + within(cell_row, from.height) * from.width;
    EACH(n, NEIGHBOURS)
        around[n] = load(n < 2 ? above : below, cell - 1 + n % 2, from.width);
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
 * filters      (factor, factor / TOGETHER, classes, TOGETHER, 4): by phase, of the neighbours as above; factor is a
 *              multiple of TOGETHER
 * sums         (classes): of those filters
 * labels, confidences  (height * factor, width * factor)
 */
CODE void FORM(fcn_label)(const float *scores, const float *filters, const filter_sums *sums, long classes, long height,
                          long width, long factor, long *next, uint8_t *labels, uint8_t *confidences)
{
    const picture to = {classes, height, width, factor, labels, confidences};
    floats near[MOST_CLASSES][NEIGHBOURS], upper[MOST_CLASSES], score[MOST_CLASSES][TOGETHER];
    int32_t kept[MOST_CLASSES];
    piece row;
    for (long cell_row; (cell_row = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) <= height;)
        for (long cell = 0; cell <= width; cell += LANES) {
            floats surely = (floats){} + LOWEST;
            for (long class = 0; class < classes; class++) {
                floats *own = near[class];
                load_around(own, scores + class * height * width, to, cell_row, cell);
                const floats low = least_of(least_of(own[0], own[1]), least_of(own[2], own[3]));
                const floats high = largest_of(largest_of(own[0], own[1]), largest_of(own[2], own[3]));
                const filter_sums sum = sums[class];
                upper[class] = reach(low, high, sum.least_above, sum.most_above, sum.least_below, sum.most_below);
                const floats lower = -reach(-high, -low, sum.least_above, sum.most_above, sum.least_below, sum.most_below);
                surely = largest_of(lower, surely);
            }
            long count = 0;
            for (long class = 0; class < classes; class++)
                if (any(upper[class] > surely - (float)NOTHING)) {
                    kept[count] = (int32_t)class;
                    memmove(near[count++], near[class], sizeof near[class]);
                }
            for (long i = 0; i < factor; i++) {
                const long y = row_of(to, cell_row, i);
                if (y < 0 || y >= height * factor)
                    continue;
                for (long j = 0; j < factor; j += TOGETHER) {
                    const float *all = filters + (i * factor + j) * classes * NEIGHBOURS;
                    floats largest[TOGETHER];
                    EACH(p, TOGETHER)
                        largest[p] = (floats){} + LOWEST;
                    for (long k = 0; k < count; k++) {
                        const float *filter = all + kept[k] * TOGETHER * NEIGHBOURS;
                        EACH(p, TOGETHER) {
                            const float *own = filter + p * NEIGHBOURS;
                            floats sum = near[k][0] * own[0];
                            sum = near[k][1] * own[1] + sum;
                            sum = near[k][2] * own[2] + sum;
                            sum = near[k][3] * own[3] + sum;
                            score[k][p] = sum;
                            largest[p] = largest_of(sum, largest[p]);
                        }
                    }
                    EACH(p, TOGETHER)
                        note(&row, 0, j + p, factor, judge(&score[0][p], TOGETHER, kept, count, largest[p]));
                }
                put(to, &row, y, cell, LANES);
            }
        }
}

/* The same with a filter for each pair of classes.
 *
 * filters      (factor, factor, classes out / OUTPUTS, classes in, 4, OUTPUTS): the last classes out may be none
 */
CODE void FORM(fcn_label_dense)(const float *scores, const float *filters, long classes, long height, long width,
                                long factor, long *next, uint8_t *labels, uint8_t *confidences)
{
    const picture to = {classes, height, width, factor, labels, confidences};
    const long terms = classes * NEIGHBOURS, blocks = (classes + OUTPUTS - 1) / OUTPUTS;
    floats near[ROW_VECTORS / SHARING][MOST_CLASSES * NEIGHBOURS][SHARING], score[MOST_CLASSES + OUTPUTS][SHARING];
    int32_t every[MOST_CLASSES];
    piece row;
    count_up(every, classes);
    for (long cell_row; (cell_row = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) <= height;)
        for (long first = 0; first <= width; first += ROW_VECTORS * LANES) {
            for (long v = 0; v < ROW_VECTORS; v++)
                for (long class = 0; class < classes; class++) {
                    floats around[NEIGHBOURS];
                    load_around(around, scores + class * height * width, to, cell_row, first + v * LANES);
                    EACH(n, NEIGHBOURS)
                        near[v / SHARING][class * NEIGHBOURS + n][v % SHARING] = around[n];
                }
            for (long i = 0; i < factor; i++) {
                const long y = row_of(to, cell_row, i);
                if (y < 0 || y >= height * factor)
                    continue;
                for (long j = 0; j < factor; j++)
                    for (long v = 0; v < ROW_VECTORS / SHARING && first + v * SHARING * LANES <= width; v++) {
                        const float *filter = filters + (i * factor + j) * blocks * terms * OUTPUTS;
                        for (long block = 0; block < blocks; block++) {
                            floats sum[OUTPUTS][SHARING];
                            EACH(o, OUTPUTS)
                                EACH(s, SHARING)
                                    sum[o][s] = (floats){};
                            for (long term = 0; term < terms; term++, filter += OUTPUTS)
                                EACH(o, OUTPUTS)
                                    EACH(s, SHARING)
                                        sum[o][s] += near[v][term][s] * filter[o];
                            EACH(o, OUTPUTS)
                                EACH(s, SHARING)
                                    score[block * OUTPUTS + o][s] = sum[o][s];
                        }
                        EACH(s, SHARING) {
                            floats largest = (floats){} + LOWEST;
                            for (long class = 0; class < classes; class++)
                                largest = largest_of(score[class][s], largest);
                            const found seen = judge(&score[0][s], SHARING, every, classes, largest);
                            note(&row, (v * SHARING + s) * LANES, j, factor, seen);
                        }
                    }
                put(to, &row, y, first, ROW_VECTORS * LANES);
            }
        }
}

/* Label the pixels of a strip of cell rows whose scores are there, phase by phase. The first of its `rows` is the
 * picture's `top`; each is taken from `next`, as above.
 *
 * scores       (factor, factor, classes, rows, width + 1)
 */
CODE void FORM(fcn_label_phases)(const float *scores, long classes, long height, long width, long factor, long top,
                                 long rows, long *next, uint8_t *labels, uint8_t *confidences)
{
    const picture to = {classes, height, width, factor, labels, confidences};
    const long cells = width + 1, map = rows * cells;
    int32_t every[MOST_CLASSES];
    piece row;
    count_up(every, classes);
    for (long r; (r = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < rows;)
        for (long i = 0; i < factor; i++) {
            const long y = row_of(to, top + r, i);
            if (y < 0 || y >= height * factor)
                continue;
            for (long cell = 0; cell < cells; cell += LANES) {
                for (long j = 0; j < factor; j++) {
                    const float *line = scores + (i * factor + j) * classes * map + r * cells;
                    floats own[MOST_CLASSES], largest = (floats){} + LOWEST;
                    for (long class = 0; class < classes; class++) {
                        own[class] = load(line + class * map, cell, cells);
                        largest = largest_of(own[class], largest);
                    }
                    note(&row, 0, j, factor, judge(own, 1, every, classes, largest));
                }
                put(to, &row, y, cell, LANES);
            }
        }
}
