/* The last step of an FCN, as tail_f32.h has it, on processors that multiply bf16 in pairs (AVX-512 BF16: Zen 4, Cooper
 * Lake and later).
 *
 * A pixel's filter and the four coarse scores around it are two pairs, the upper and the lower, of a left and a right one.
 * One instruction multiplies the pairs of sixteen pixels and adds both products in 32-bit. The sixteen are
 * neighbouring phases of one cell, so filters are loaded as they lie and scores are repeated; a filter that is
 * loaded serves the same phases of several cells. With a filter for each pair of classes a score is a sum over the
 * pairs of all classes: a matrix product, which runs near the processor's peak (docs/speed.md).
 *
 * Scores and filters are rounded to bf16, as the network before them has it; sums, softmax and argmax are in 32-bit.
 */
#include <stdint.h>

#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) || __GNUC__ >= 10)
#include <immintrin.h>

#include "tail.h"

enum {
    LANES = 16,
    SHARING = 4,     /* cells for which a filter is loaded once: their sums and labels stay in registers */
    ACCUMULATING = 8 /* the same for dense filters: enough sums to hide how long a multiplication takes */
};

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define INLINE TARGET static inline __attribute__((always_inline))

/* 2^x on [0, 1) within 0.2 %, the largest error made least: (SQUARE x + LINEAR) x + CONSTANT. */
static const float SQUARE = 0.33718939f, LINEAR = 0.65763644f, CONSTANT = 1.0017247f;

/* What is labelled, and where to. Coarse scores are height x width; rows and columns of cells are one more. */
typedef struct {
    long classes, height, width, factor;
    uint8_t *labels, *confidences;
} picture;

/* Of sixteen cells: the left score of a class in the lower half of a lane, the right one in the upper. */
typedef struct {
    __m512i above, below;
} pairs;

/* The same before they are rounded. */
typedef struct {
    __m512 above_left, above_right, below_left, below_right;
} corners;

/* Sixteen scores of a line from `start` on, in powers of two; beyond its ends those at the ends. */
INLINE __m512 load(const float *line, long start, long length)
{
    float values[LANES];
    const int inside = start >= 0 && start + LANES <= length;
    for (long lane = 0; !inside && lane < LANES; lane++)
        values[lane] = line[within(start + lane, length)];
    return _mm512_mul_ps(_mm512_loadu_ps(inside ? line + start : values), _mm512_set1_ps(LOG2_E));
}

/* The scores of one class around sixteen cells. */
INLINE corners around(const float *scores, picture to, long cell_row, long cell)
{
    const float *above = scores + within(cell_row - 1, to.height) * to.width;
    const float *below = scores + within(cell_row, to.height) * to.width;
    return (corners){load(above, cell - 1, to.width), load(above, cell, to.width), load(below, cell - 1, to.width),
                     load(below, cell, to.width)};
}

INLINE __m512i pair(__m512 left, __m512 right)
{
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(left));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(right));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

INLINE pairs rounded(corners of)
{
    return (pairs){pair(of.above_left, of.above_right), pair(of.below_left, of.below_right)};
}

/* 2^x: by the polynomial on what x has above a whole number. */
INLINE __m512 exp2_of(__m512 x)
{
    const __m512 rest = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
    __m512 power = _mm512_fmadd_ps(rest, _mm512_set1_ps(SQUARE), _mm512_set1_ps(LINEAR));
    power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(CONSTANT));
    return _mm512_scalef_ps(power, x);
}

/* The largest score that the filters can make of neighbours between `low` and `high`. */
INLINE __m512 reach(__m512 low, __m512 high, float least_up, float most_up, float least_down, float most_down)
{
    const __m512 zero = _mm512_setzero_ps();
    const __mmask16 positive = _mm512_cmp_ps_mask(high, zero, _CMP_GT_OQ);
    const __mmask16 negative = _mm512_cmp_ps_mask(low, zero, _CMP_LT_OQ);
    const __m512 up = _mm512_mask_mov_ps(_mm512_set1_ps(least_up), positive, _mm512_set1_ps(most_up));
    const __m512 down = _mm512_mask_mov_ps(_mm512_set1_ps(least_down), negative, _mm512_set1_ps(most_down));
    return _mm512_fnmadd_ps(down, low, _mm512_mul_ps(up, high));
}

INLINE void put(uint8_t *to, const uint8_t *bytes, long count)
{
    if (count == 8)
        memcpy(to, bytes, 8);
    else if (count == 4)
        memcpy(to, bytes, 4);
    else
        memcpy(to, bytes, LANES);
}

/* Sixteen pixels of a cell, from phase `first` on, to their places; `share` is the softmax of the largest. */
INLINE void write(picture to, long cell_row, long cell, long first, __m512i label, __m512 share)
{
    const long line = to.factor < LANES ? to.factor : LANES; /* pixels that lie side by side */
    const long x = cell * to.factor + first % to.factor - to.factor / 2, width = to.width * to.factor;
    const __m512 level = _mm512_fmadd_ps(share, _mm512_set1_ps(255.0f), _mm512_set1_ps(0.5f));
    uint8_t labels[LANES], confidences[LANES];
    _mm_storeu_si128((__m128i *)labels, _mm512_cvtepi32_epi8(label));
    _mm_storeu_si128((__m128i *)confidences, _mm512_cvtusepi32_epi8(_mm512_cvttps_epi32(level)));
    for (long at = 0; at < LANES; at += line) {
        const long y = cell_row * to.factor + (first + at) / to.factor - to.factor / 2;
        if (y < 0 || y >= to.height * to.factor)
            continue;
        uint8_t *label_line = to.labels + y * width, *confidence_line = to.confidences + y * width;
        if (x >= 0 && x + line <= width) {
            put(label_line + x, labels + at, line);
            put(confidence_line + x, confidences + at, line);
        } else
            for (long lane = 0; lane < line; lane++)
                if (x + lane >= 0 && x + lane < width) {
                    label_line[x + lane] = labels[at + lane];
                    confidence_line[x + lane] = confidences[at + lane];
                }
    }
}

/* What is known of sixteen pixels of each of some cells after some of the classes. */
typedef struct {
    __m512 reference[SHARING], largest[SHARING], sum[SHARING];
    __m512i label[SHARING];
} found;

/* See the classes that are kept; each step is done for all cells before the next one, so that none waits for the last. */
INLINE void see(found *so_far, const pairs *around, long cell, const uint32_t *filters, const int32_t *kept, long count)
{
    __m512 largest[SHARING], sum[SHARING];
    __m512i label[SHARING];
#define EACH _Pragma("GCC unroll 8") for (int n = 0; n < SHARING; n++)
    EACH largest[n] = _mm512_set1_ps(LOWEST);
    EACH sum[n] = _mm512_setzero_ps();
    EACH label[n] = _mm512_setzero_si512();
    for (long k = 0; k < count; k++) {
        const uint32_t *filter = filters + kept[k] * 2 * LANES;
        const int32_t *above = (const int32_t *)&around[kept[k]].above + cell;
        const int32_t *below = (const int32_t *)&around[kept[k]].below + cell;
        const __m512bh upper = (__m512bh)_mm512_loadu_si512(filter);
        const __m512bh lower = (__m512bh)_mm512_loadu_si512(filter + LANES);
        __m512i class = _mm512_set1_epi32(kept[k]);
        __asm__("" : "+v"(class)); /* stay a vector: else it is made anew for each cell */
        __m512 score[SHARING], rest[SHARING], power[SHARING];
        EACH score[n] = _mm512_dpbf16_ps(so_far->reference[n], upper, (__m512bh)_mm512_set1_epi32(above[n]));
        EACH score[n] = _mm512_dpbf16_ps(score[n], lower, (__m512bh)_mm512_set1_epi32(below[n]));
        EACH rest[n] = _mm512_reduce_ps(score[n], _MM_FROUND_TO_NEG_INF); /* from here on exp2_of */
        EACH label[n] = _mm512_mask_mov_epi32(label[n], _mm512_cmp_ps_mask(score[n], largest[n], _CMP_GT_OQ), class);
        EACH largest[n] = _mm512_max_ps(score[n], largest[n]);
        EACH power[n] = _mm512_fmadd_ps(rest[n], _mm512_set1_ps(SQUARE), _mm512_set1_ps(LINEAR));
        EACH power[n] = _mm512_fmadd_ps(power[n], rest[n], _mm512_set1_ps(CONSTANT));
        EACH sum[n] = _mm512_add_ps(sum[n], _mm512_scalef_ps(power[n], score[n]));
    }
    EACH so_far->largest[n] = largest[n];
    EACH so_far->sum[n] = sum[n];
    EACH so_far->label[n] = label[n];
}

/* Label the pixels of cell rows, each taken from `next` by whoever is free: see fcn_label of tail_f32.h.
 *
 * scores   (classes, height, width)
 * filters  (factor * factor / 16, classes, 2, 16): pairs for sixteen phases of the scores above, of those below
 * sums     (classes): of those filters
 */
TARGET void fcn_label_bf16(const float *scores, const uint32_t *filters, const filter_sums *sums, long classes,
                           long height, long width, long factor, long *next, uint8_t *labels, uint8_t *confidences)
{
    const picture to = {classes, height, width, factor, labels, confidences};
    pairs near[MOST_CLASSES];
    __m512 upper[MOST_CLASSES];
    __mmask16 seen[MOST_CLASSES];
    int32_t kept[MOST_CLASSES];
    for (long cell_row; (cell_row = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) <= height;) {
        for (long cell = 0; cell <= width; cell += LANES) {
            __m512 surely = _mm512_set1_ps(LOWEST), at_most = surely;
            for (long class = 0; class < classes; class++) {
                /* Lines of one class lie far from those of the next: no processor guesses that they will be read. */
                __builtin_prefetch(scores + (class * height + within(cell_row + 2, height)) * width + within(cell, width));
                const corners own = around(scores + class * height * width, to, cell_row, cell);
                const __m512 low = _mm512_min_ps(_mm512_min_ps(own.above_left, own.above_right),
                                                 _mm512_min_ps(own.below_left, own.below_right));
                const __m512 high = _mm512_max_ps(_mm512_max_ps(own.above_left, own.above_right),
                                                  _mm512_max_ps(own.below_left, own.below_right));
                const __m512 zero = _mm512_setzero_ps();
                const filter_sums sum = sums[class];
                near[class] = rounded(own);
                upper[class] = reach(low, high, sum.least_above, sum.most_above, sum.least_below, sum.most_below);
                surely = _mm512_max_ps(
                    _mm512_sub_ps(zero, reach(_mm512_sub_ps(zero, high), _mm512_sub_ps(zero, low), sum.least_above,
                                              sum.most_above, sum.least_below, sum.most_below)),
                    surely);
                at_most = _mm512_max_ps(upper[class], at_most);
            }
            const __m512 bar = _mm512_sub_ps(surely, _mm512_set1_ps(NOTHING));
            for (long class = 0; class < classes; class++)
                seen[class] = _mm512_cmp_ps_mask(upper[class], bar, _CMP_GT_OQ);
            const __m512 wide = _mm512_sub_ps(at_most, surely);
            const int passes = _mm512_cmp_ps_mask(wide, _mm512_set1_ps(FAR), _CMP_GT_OQ) ? 2 : 1;
            float reference[LANES];
            _mm512_storeu_ps(reference, _mm512_sub_ps(_mm512_setzero_ps(), surely));
            for (long first = 0; first < LANES && cell + first <= width; first += SHARING) {
                long count = 0;
                for (long class = 0; class < classes; class++) {
                    kept[count] = (int32_t)class;
                    count += (seen[class] >> first & ((1 << SHARING) - 1)) != 0;
                }
                for (long phase = 0; phase < factor * factor; phase += LANES) {
                    found so_far;
                    EACH so_far.reference[n] = _mm512_set1_ps(reference[first + n]);
                    for (int pass = 0; pass < passes; pass++) {
                        if (pass)
                            EACH so_far.reference[n] = _mm512_sub_ps(so_far.reference[n], so_far.largest[n]);
                        see(&so_far, near, first, filters + phase * classes * 2, kept, count);
                    }
                    for (int n = 0; n < SHARING && cell + first + n <= width; n++) {
                        const __m512 share = _mm512_div_ps(exp2_of(so_far.largest[n]), so_far.sum[n]);
                        write(to, cell_row, cell + first + n, phase, so_far.label[n], share);
                    }
                }
            }
        }
    }
}

/* The same with a filter for each pair of classes.
 *
 * filters  (factor * factor / 16, classes out, classes in, 2, 16): pairs for sixteen phases of the scores above, below
 */
TARGET void fcn_label_dense_bf16(const float *scores, const uint32_t *filters, long classes, long height, long width,
                                 long factor, long *next, uint8_t *labels, uint8_t *confidences)
{
    const picture to = {classes, height, width, factor, labels, confidences};
    pairs near[MOST_CLASSES];
    __m512 score[MOST_CLASSES][ACCUMULATING];
#define ALL _Pragma("GCC unroll 8") for (int n = 0; n < ACCUMULATING; n++)
    for (long cell_row; (cell_row = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) <= height;) {
        for (long cell = 0; cell <= width; cell += LANES) {
            for (long class = 0; class < classes; class++)
                near[class] = rounded(around(scores + class * height * width, to, cell_row, cell));
            for (long first = 0; first < LANES && cell + first <= width; first += ACCUMULATING)
                for (long phase = 0; phase < factor * factor; phase += LANES) {
                    const uint32_t *filter = filters + phase * classes * classes * 2;
                    __m512 largest[ACCUMULATING];
                    ALL largest[n] = _mm512_set1_ps(LOWEST);
                    for (long class = 0; class < classes; class++) {
                        const int32_t *from = (const int32_t *)near + first;
                        __m512 sum[ACCUMULATING];
                        ALL sum[n] = _mm512_setzero_ps();
                        for (long half = 0; half < 2 * classes; half++, filter += LANES, from += LANES) {
                            const __m512bh weights = (__m512bh)_mm512_loadu_si512(filter);
                            ALL sum[n] = _mm512_dpbf16_ps(sum[n], weights, (__m512bh)_mm512_set1_epi32(from[n]));
                        }
                        ALL score[class][n] = sum[n];
                        ALL largest[n] = _mm512_max_ps(sum[n], largest[n]);
                    }
                    for (int n = 0; n < ACCUMULATING && cell + first + n <= width; n++) {
                        __m512 sum = _mm512_setzero_ps();
                        __m512i label = _mm512_setzero_si512();
                        for (long class = classes - 1; class >= 0; class--) { /* of equal ones the first is taken */
                            const __mmask16 it = _mm512_cmp_ps_mask(score[class][n], largest[n], _CMP_EQ_OQ);
                            label = _mm512_mask_mov_epi32(label, it, _mm512_set1_epi32((int32_t)class));
                            sum = _mm512_add_ps(sum, exp2_of(_mm512_sub_ps(score[class][n], largest[n])));
                        }
                        write(to, cell_row, cell + first + n, phase, label, _mm512_div_ps(_mm512_set1_ps(1.0f), sum));
                    }
                }
        }
    }
}

/* Whether this processor can run what is here. */
int fcn_has_bf16(void)
{
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#else
int fcn_has_bf16(void)
{
    return 0;
}
#endif
