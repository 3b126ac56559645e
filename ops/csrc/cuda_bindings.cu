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
  const Problem& problem = inputs.problem;
  Tensor out = torch::stable::new_empty(
      inputs.value, {problem.batch, problem.queries, problem.heads * problem.channels});
  const Forward arrays{inputs.value.const_data_ptr(), inputs.locations.const_data_ptr(),
                       inputs.weights.const_data_ptr(), out.mutable_data_ptr()};
  run(inputs, are_aligned({arrays.value, arrays.out}), arrays);
  return out;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward_cuda(
    const Tensor& grad_out, const Tensor& value, const std::vector<int64_t>& spatial_shapes,
    const Tensor& sampling_locations, const Tensor& attention_weights,
    const std::vector<bool>& output_mask) {
  const Inputs inputs(value, spatial_shapes, sampling_locations, attention_weights);
  const Tensor grads = inputs.like_output(grad_out);
  const bool value_wanted = output_mask.at(0);
  const bool locations_wanted = output_mask.at(1);
  const bool weights_wanted = output_mask.at(2);
  // 16-bit gradients are summed in float, then rounded once.
  Tensor grad_value = value_wanted
                          ? torch::stable::new_zeros(inputs.value, inputs.value.sizes(), inputs.wide)
                          : unwanted(inputs.value);
  Tensor grad_locations =
      locations_wanted ? torch::stable::empty_like(inputs.locations) : unwanted(inputs.locations);
  Tensor grad_weights =
      weights_wanted ? torch::stable::empty_like(inputs.weights) : unwanted(inputs.weights);
  const Backward arrays{grads.const_data_ptr(),
                        inputs.value.const_data_ptr(),
                        inputs.locations.const_data_ptr(),
                        inputs.weights.const_data_ptr(),
                        value_wanted ? grad_value.mutable_data_ptr() : nullptr,
                        locations_wanted ? grad_locations.mutable_data_ptr() : nullptr,
                        weights_wanted ? grad_weights.mutable_data_ptr() : nullptr};
  run(inputs, are_aligned({arrays.grad_out, arrays.value, arrays.grad_value}), arrays);
  if (value_wanted && inputs.wide != inputs.value.scalar_type()) {
    grad_value = torch::stable::to(grad_value, inputs.value.scalar_type());
  }
  return {grad_value, grad_locations, grad_weights};
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
