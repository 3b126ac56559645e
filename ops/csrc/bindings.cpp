// Schemas of the operators and their CPU side, on torch's stable ABI: one binary serves every torch
// from the version of TORCH_TARGET_VERSION on.

#include <Python.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "cpu_kernels.h"
#include "tensors.h"

namespace vdit {
namespace {

using torch::stable::Tensor;

// Samples below which a second thread costs more than it saves.
constexpr int64_t kSamplesPerThread = 8192;

// Zeros in memory of their own. The system gives large memory as pages that are zero already and
// take no time before they are touched: with few queries most of a gradient of value never is.
Tensor zeros_like(const Tensor& tensor) {
  constexpr size_t kAlignment = 64;  // bytes, as torch's own memory
  const size_t bytes = static_cast<size_t>(tensor.numel()) * tensor.element_size();
  void* memory = std::calloc(bytes + kAlignment, 1);
  STD_TORCH_CHECK(memory != nullptr, "vdit::ms_deform_attn_backward: no memory for ", bytes,
                  " bytes of the gradient of value");
  void* start = memory;
  size_t space = bytes + kAlignment;
  std::align(kAlignment, bytes, start, space);
  return torch::stable::from_blob(start, tensor.sizes(), tensor.strides(), tensor.device(),
                                  tensor.scalar_type(), [memory](void*) { std::free(memory); });
}

// Cuts a backward pass into shares, one per frame if these keep the threads busy, else fewer heads
// at a time, then fewer levels: a share with all heads reads and writes whole cache lines in order.
// Sums are made in the order of the queries, however it is cut.
std::vector<Share> cut(const Problem& problem, int64_t threads) {
  int64_t head_groups = 1;
  int64_t level_groups = 1;
  const auto is_uneven = [&] {
    const int64_t shares = problem.batch * head_groups * level_groups;
    return 20 * shares < 19 * threads * ((shares + threads - 1) / threads);
  };
  while (is_uneven() && head_groups < problem.heads) {
    do {
      ++head_groups;
    } while (problem.heads % head_groups != 0);
  }
  if (problem.batch * head_groups < threads) level_groups = problem.num_levels;
  const int64_t heads = problem.heads / head_groups;
  const int64_t levels = problem.num_levels / level_groups;
  std::vector<Share> shares;
  for (int64_t n = 0; n < problem.batch; ++n) {
    for (int64_t m = 0; m < problem.heads; m += heads) {
      for (int64_t l = 0; l < problem.num_levels; l += levels) {
        shares.push_back({n, m, m + heads, l, l + levels});
      }
    }
  }
  return shares;
}

Tensor ms_deform_attn_cpu(const Tensor& value, const std::vector<int64_t>& spatial_shapes,
                          const Tensor& sampling_locations, const Tensor& attention_weights) {
  const Inputs inputs(value, spatial_shapes, sampling_locations, attention_weights);
  const Problem& problem = inputs.problem;
  const Output out(inputs);
  const int64_t samples = problem.heads * problem.num_levels * problem.points;
  const auto kernel = cpu_kernels().forward[inputs.dtype];
  torch::stable::parallel_for(
      0, problem.batch * problem.queries, 1 + kSamplesPerThread / std::max<int64_t>(samples, 1),
      [&](int64_t begin, int64_t end) { kernel(problem, out.arrays, begin, end); });
  return out.tensor;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward_cpu(
    const Tensor& grad_out, const Tensor& value, const std::vector<int64_t>& spatial_shapes,
    const Tensor& sampling_locations, const Tensor& attention_weights,
    const std::vector<bool>& output_mask) {
  const Inputs inputs(value, spatial_shapes, sampling_locations, attention_weights);
  const Gradients gradients(inputs, grad_out, output_mask, zeros_like);
  const std::vector<Share> shares = cut(inputs.problem, torch::stable::get_num_threads());
  const auto kernel = cpu_kernels().backward[inputs.dtype];
  torch::stable::parallel_for(0, static_cast<int64_t>(shares.size()), 1,
                              [&](int64_t begin, int64_t end) {
                                for (int64_t i = begin; i < end; ++i) {
                                  kernel(inputs.problem, gradients.arrays, shares[i]);
                                }
                              });
  return {gradients.value, gradients.locations, gradients.weights};
}

std::string cpu_capability() { return cpu_kernels().capability; }

}  // namespace
}  // namespace vdit

STABLE_TORCH_LIBRARY(vdit, library) {
  library.def(
      "ms_deform_attn(Tensor value, SymInt[] spatial_shapes, Tensor sampling_locations, "
      "Tensor attention_weights) -> Tensor");
  library.def(
      "ms_deform_attn_backward(Tensor grad_out, Tensor value, SymInt[] spatial_shapes, "
      "Tensor sampling_locations, Tensor attention_weights, bool[3] output_mask) "
      "-> (Tensor, Tensor, Tensor)");
  library.def("cpu_capability() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(vdit, CPU, library) {
  library.impl("ms_deform_attn", TORCH_BOX(&vdit::ms_deform_attn_cpu));
  library.impl("ms_deform_attn_backward", TORCH_BOX(&vdit::ms_deform_attn_backward_cpu));
}

STABLE_TORCH_LIBRARY_IMPL(vdit, CompositeExplicitAutograd, library) {
  library.impl("cpu_capability", TORCH_BOX(&vdit::cpu_capability));
}

// Importing the module is what registers the operators; it has no members.
PyMODINIT_FUNC PyInit__C(void) {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};
  return PyModule_Create(&definition);
}
