// Kernels of one instruction set, and the choice of the set at run time. Free of torch.

#pragma once

#include "problem.h"

namespace vdit {

// The share of a backward pass that one task owns: nothing that it writes is written by others.
struct Share {
  int64_t frame;
  int64_t first_head, last_head;
  int64_t first_level, last_level;
};

struct CpuKernels {
  const char* capability;  // "default", "avx2" or "avx512", as torch calls them
  // Computes the rows begin..end of the N * Q queries.
  void (*forward[kNumDtypes])(const Problem&, const Forward&, int64_t begin, int64_t end);
  // Computes all gradients of a share.
  void (*backward[kNumDtypes])(const Problem&, const Backward&, const Share&);
};

extern const CpuKernels kDefaultKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;

// The widest set of this processor; ATEN_CPU_CAPABILITY lowers it, as it does for torch.
const CpuKernels& cpu_kernels();

}  // namespace vdit
