// The CUDA side of the operators, on torch's stable ABI. The schemas are in bindings.cpp; this file is
// a library of its own, because it does not load without a CUDA torch.

#include <Python.h>
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <initializer_list>
#include <tuple>
#include <vector>

#include "cuda_launch.cuh"
#include "tensors.h"

namespace vdit {
namespace {

using torch::stable::Tensor;

bool are_aligned(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}

// Enqueues a pass on the current stream of the device of the inputs; nothing if it is empty.
template <typename Arrays>
void run(const Inputs& inputs, bool is_aligned, const Arrays& arrays) {
  const CudaPlan plan = make_cuda_plan(inputs.problem, inputs.dtype, is_aligned);
  STD_TORCH_CHECK(plan.error == nullptr, "vdit::ms_deform_attn: ", plan.error);
  if (plan.blocks_x == 0 || plan.blocks_y == 0) return;
  const int32_t device = inputs.value.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  launch_cuda(plan, inputs.dtype, arrays, static_cast<cudaStream_t>(stream));
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, "vdit::ms_deform_attn: ", cudaGetErrorString(error));
}

Tensor ms_deform_attn_cuda(const Tensor& value, const std::vector<int64_t>& spatial_shapes,
                           const Tensor& sampling_locations, const Tensor& attention_weights) {
  const Inputs inputs(value, spatial_shapes, sampling_locations, attention_weights);
  const Output out(inputs);
  run(inputs, are_aligned({out.arrays.value, out.arrays.out}), out.arrays);
  return out.tensor;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward_cuda(
    const Tensor& grad_out, const Tensor& value, const std::vector<int64_t>& spatial_shapes,
    const Tensor& sampling_locations, const Tensor& attention_weights,
    const std::vector<bool>& output_mask) {
  const Inputs inputs(value, spatial_shapes, sampling_locations, attention_weights);
  // 16-bit gradients are summed in float, then rounded once.
  const Gradients gradients(inputs, grad_out, output_mask, [&](const Tensor& value) {
    return torch::stable::new_zeros(value, value.sizes(), inputs.wide);
  });
  const Backward& arrays = gradients.arrays;
  run(inputs, are_aligned({arrays.grad_out, arrays.value, arrays.grad_value}), arrays);
  const bool is_wide = arrays.grad_value == nullptr || inputs.wide == value.scalar_type();
  return {is_wide ? gradients.value : torch::stable::to(gradients.value, value.scalar_type()),
          gradients.locations, gradients.weights};
}

}  // namespace
}  // namespace vdit

STABLE_TORCH_LIBRARY_IMPL(vdit, CUDA, library) {
  library.impl("ms_deform_attn", TORCH_BOX(&vdit::ms_deform_attn_cuda));
  library.impl("ms_deform_attn_backward", TORCH_BOX(&vdit::ms_deform_attn_backward_cuda));
}

// Importing the module is what registers the kernels; it has no members.
PyMODINIT_FUNC PyInit__C_cuda(void) {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr};
  return PyModule_Create(&definition);
}
