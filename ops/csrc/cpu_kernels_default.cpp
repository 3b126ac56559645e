// Kernels for any processor that the compiler targets by itself.

#define VDIT_CAPABILITY default
#define VDIT_KERNELS kDefaultKernels
#if defined(__GNUC__)
#define VDIT_LANES 4
#else
#define VDIT_LANES 1
#endif

#include "cpu_kernels_inl.h"
