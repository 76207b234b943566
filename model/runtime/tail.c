/* The last step of an FCN: coarse scores to a label map and a confidence, without ever holding the scores of all
 * classes at the picture's size.
 *
 * A transposed convolution with kernel 2s and stride s, its coarse map replicate-padded by one and its result
 * cropped, is s * s small filters: with u = y + s / 2, the pixel y lies in cell row u / s at phase u % s, and its
 * score is a weighted sum of the four coarse scores around it, with the weights of its phase. Pixels of one phase in
 * neighbouring cells have the same weights, so sixteen of them are worked out at once; label and confidence, a byte
 * each, are what is put in the picture's order in the end.
 *
 * The confidence is the softmax of the largest score, 1 / sum exp(score - largest). The largest is known only after
 * the last class; any reference near it serves as well, as long as exp neither overflows nor vanishes: the largest of
 * the four coarse scores is one where the filters average, as bilinear ones do. Where a learned filter leads
 * far from it the pixels are done again with the score found.
 *
 * Vectors are those of GCC and Clang: sixteen floats, which the compiler splits for processors with shorter ones.
 */
#include <stdint.h>
#include <string.h>

enum { LANES = 16, MOST_CLASSES = 256, NEIGHBOURS = 4 };

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* One machine code for each generation of processors, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

static const float LOWEST = -3e38f, LOG2_E = 1.44269504f;

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

INLINE long within(long index, long length)
{
    return index < 0 ? 0 : index < length ? index : length - 1;
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

INLINE int far_from_zero(floats score)
{
    for (long lane = 0; lane < LANES; lane++)
        if (!(score[lane] > -60.0f && score[lane] < 60.0f))
            return 1;
    return 0;
}

/* Label the pixels of the cell rows from `first` to before `last`, of 0 to height: one more than the coarse rows.
 *
 * scores       (classes, height, width)
 * weights      (factor, factor, classes, 4): by phase, of the scores above left, above right, below left, below right
 * labels, confidences  (height * factor, width * factor)
 */
FOR_EACH_PROCESSOR
void fcn_label(const float *scores, const float *weights, long classes, long height, long width, long factor,
               long first, long last, uint8_t *labels, uint8_t *confidences)
{
    floats near[MOST_CLASSES][NEIGHBOURS];
    for (long cell_row = first; cell_row < last; cell_row++) {
        const long above = within(cell_row - 1, height) * width, below = within(cell_row, height) * width;
        for (long cell = 0; cell <= width; cell += LANES) {
            floats highest = (floats){} + LOWEST;
            for (long class = 0; class < classes; class++) {
                const float *map = scores + class * height * width;
                for (int n = 0; n < NEIGHBOURS; n++)
                    near[class][n] = load(map + (n < 2 ? above : below), cell - 1 + n % 2, width);
                for (int n = 0; n < NEIGHBOURS; n++)
                    highest = where(near[class][n] > highest, near[class][n], highest);
            }
            for (long i = 0; i < factor; i++) {
                const long y = cell_row * factor + i - factor / 2;
                if (y < 0 || y >= height * factor)
                    continue;
                for (long j = 0; j < factor; j++) {
                    const float *filters = weights + (i * factor + j) * classes * NEIGHBOURS;
                    floats reference = highest;
                    found seen;
                    for (int tried = 0; tried < 2; tried++) {
                        seen = nothing_yet();
                        for (long class = 0; class < classes; class++) {
                            const float *filter = filters + class * NEIGHBOURS;
                            floats score = near[class][0] * filter[0] - reference;
                            score = near[class][1] * filter[1] + score;
                            score = near[class][2] * filter[2] + score;
                            score = near[class][3] * filter[3] + score;
                            see(&seen, score, (int32_t)class);
                        }
                        if (!far_from_zero(seen.largest))
                            break;
                        reference += seen.largest;
                    }
                    const row at = {cell * factor + j - factor / 2, factor, width * factor};
                    write(seen, at, labels + y * at.width, confidences + y * at.width);
                }
            }
        }
    }
}

/* Label the pixels of `rows` cell rows from the `first` on, whose scores are there, phase by phase.
 *
 * scores       (factor, factor, classes, rows, width + 1)
 * labels, confidences  (height * factor, width * factor)
 */
FOR_EACH_PROCESSOR
void fcn_label_phases(const float *scores, long classes, long height, long width, long factor, long first, long rows,
                      uint8_t *labels, uint8_t *confidences)
{
    const long cells = width + 1, map = rows * cells;
    for (long i = 0; i < factor; i++)
        for (long j = 0; j < factor; j++)
            for (long r = 0; r < rows; r++) {
                const long y = (first + r) * factor + i - factor / 2;
                if (y < 0 || y >= height * factor)
                    continue;
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
