// Chooses among the kernels once per process.

#include <cstdlib>
#include <cstring>

#include "cpu_kernels.h"

namespace vdit {
namespace {

const CpuKernels& choose() {
#if defined(__GNUC__) && defined(__x86_64__)
  const char* limit = std::getenv("ATEN_CPU_CAPABILITY");
  const bool upto_avx2 = limit != nullptr && std::strcmp(limit, "avx2") == 0;
  const bool upto_default = limit != nullptr && std::strcmp(limit, "default") == 0;
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (has_avx2 && has_avx512 && !upto_avx2 && !upto_default) return kAvx512Kernels;
  if (has_avx2 && !upto_default) return kAvx2Kernels;
#endif
  return kDefaultKernels;
}

}  // namespace

const CpuKernels& cpu_kernels() {
  static const CpuKernels& kernels = choose();
  return kernels;
}

}  // namespace vdit
