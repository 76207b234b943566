/* The last step on processors with AVX-512 (Skylake servers, Zen 4 and later): vectors of sixteen. */
#include <stdint.h>

#if defined(__x86_64__) && (defined(__clang__) || defined(__GNUC__))
#include <immintrin.h>

#define LANES 16
#define FORM(name) name##_avx512
#define CODE __attribute__((target("avx512f,avx512dq,fma")))

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

CODE static inline floats where(ints condition, floats yes, floats no)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)condition), no, yes);
}

CODE static inline floats largest_of(floats a, floats b)
{
    return _mm512_max_ps(a, b);
}

CODE static inline floats least_of(floats a, floats b)
{
    return _mm512_min_ps(a, b);
}

CODE static inline int any(ints condition)
{
    return _mm512_movepi32_mask((__m512i)condition);
}

#include "tail_f32.h"

int fcn_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}
#else
int fcn_has_avx512(void)
{
    return 0;
}
#endif
