// Launches of the CUDA kernels. Free of torch.

#pragma once

#include <cuda_runtime.h>

#include "cuda_kernels.cuh"

namespace vdit {

template <typename T, int kVector, int kLanes>
void launch(const CudaPlan& plan, const Forward& arrays, cudaStream_t stream) {
  using Acc = typename AccOf<T>::Type;
  forward_kernel<T, kVector, kLanes><<<dim3(plan.blocks_x, plan.blocks_y), kThreads, 0, stream>>>(
      plan.problem, static_cast<const T*>(arrays.value), static_cast<const Acc*>(arrays.locations),
      static_cast<const Acc*>(arrays.weights), static_cast<T*>(arrays.out));
}

template <typename T, int kVector, int kLanes>
void launch(const CudaPlan& plan, const Backward& arrays, cudaStream_t stream) {
  using Acc = typename AccOf<T>::Type;
  backward_kernel<T, kVector, kLanes><<<dim3(plan.blocks_x, plan.blocks_y), kThreads, 0, stream>>>(
      plan.problem, static_cast<const T*>(arrays.grad_out), static_cast<const T*>(arrays.value),
      static_cast<const Acc*>(arrays.locations), static_cast<const Acc*>(arrays.weights),
      static_cast<Acc*>(arrays.grad_value), static_cast<Acc*>(arrays.grad_locations),
      static_cast<Acc*>(arrays.grad_weights));
}

template <typename T, typename Arrays>
void launch_lanes(const CudaPlan& plan, const Arrays& arrays, cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  if (!plan.is_vector) return launch<T, 1, 32>(plan, arrays, stream);
  if (plan.lanes == 4) return launch<T, kVector, 4>(plan, arrays, stream);
  if (plan.lanes == 8) return launch<T, kVector, 8>(plan, arrays, stream);
  launch<T, kVector, 16>(plan, arrays, stream);
}

// Enqueues a forward or a backward pass; there must be something to compute.
template <typename Arrays>
void launch_cuda(const CudaPlan& plan, Dtype dtype, const Arrays& arrays, cudaStream_t stream) {
  switch (dtype) {
    case kFloat:
      return launch_lanes<float>(plan, arrays, stream);
    case kDouble:
      return launch_lanes<double>(plan, arrays, stream);
    case kBFloat16:
      return launch_lanes<BFloat16>(plan, arrays, stream);
    default:
      return launch_lanes<Half>(plan, arrays, stream);
  }
}

}  // namespace vdit
