// Kernels for x86-64 with AVX-512 (F, BW, DQ, VL). The whole file is compiled for them, so it includes
// no header whose inline functions other files could be linked to.

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

#define VDIT_CAPABILITY avx512
#define VDIT_KERNELS kAvx512Kernels
#define VDIT_LANES 16

#include "cpu_kernels_inl.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
