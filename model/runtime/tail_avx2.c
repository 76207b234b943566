/* The last step on processors with AVX2 and FMA (since 2013): vectors of eight. */
#include <stdint.h>

#if defined(__x86_64__) && (defined(__clang__) || defined(__GNUC__))
#include <immintrin.h>

#define LANES 8
#define FORM(name) name##_avx2
#define CODE __attribute__((target("avx2,fma")))

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

CODE static inline floats where(ints condition, floats yes, floats no)
{
    return _mm256_blendv_ps(no, yes, (__m256)condition);
}

CODE static inline floats largest_of(floats a, floats b)
{
    return _mm256_max_ps(a, b);
}

CODE static inline floats least_of(floats a, floats b)
{
    return _mm256_min_ps(a, b);
}

CODE static inline int any(ints condition)
{
    return _mm256_movemask_ps((__m256)condition);
}

#include "tail_f32.h"

int fcn_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
int fcn_has_avx2(void)
{
    return 0;
}
#endif
