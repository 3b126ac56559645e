// Schemas of the operators and their CPU kernels, on torch's stable ABI: one binary serves every
// torch from the version of TORCH_TARGET_VERSION on.

#include <Python.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <tuple>
#include <type_traits>
#include <vector>

#include "ms_deform_attn_cpu.h"

namespace vdit {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kQueryBlock = 64;

template <typename T>
using AccOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename Function>
auto dispatch(ScalarType type, Function&& function) {
  switch (type) {
    case ScalarType::Float:
      return function(float{});
    case ScalarType::Double:
      return function(double{});
    case ScalarType::BFloat16:
      return function(c10::BFloat16{});
    case ScalarType::Half:
      return function(c10::Half{});
    default:
      STD_TORCH_CHECK(false, "vdit::ms_deform_attn: value must be float32, float64, bfloat16 or ",
                      "float16");
  }
}

ScalarType accumulate_type(const Tensor& value) {
  return value.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

Tensor prepare(const Tensor& tensor, ScalarType type) {
  if (tensor.scalar_type() == type) return torch::stable::contiguous(tensor);
  return torch::stable::contiguous(torch::stable::to(tensor, type));
}

std::vector<Level> make_levels(const std::vector<int64_t>& spatial_shapes, int64_t pixels) {
  STD_TORCH_CHECK(spatial_shapes.size() % 2 == 0,
                  "vdit::ms_deform_attn: spatial_shapes must hold pairs");
  std::vector<Level> levels;
  int64_t start = 0;
  for (size_t i = 0; i < spatial_shapes.size(); i += 2) {
    const int64_t height = spatial_shapes[i];
    const int64_t width = spatial_shapes[i + 1];
    STD_TORCH_CHECK(height > 0 && width > 0,
                    "vdit::ms_deform_attn: spatial_shapes must be positive");
    levels.push_back({height, width, start});
    start += height * width;
  }
  STD_TORCH_CHECK(start == pixels, "vdit::ms_deform_attn: spatial_shapes have ", start,
                  " pixels, value has ", pixels);
  return levels;
}

Problem make_problem(const Tensor& value, const std::vector<int64_t>& spatial_shapes,
                     const Tensor& locations, const Tensor& weights) {
  STD_TORCH_CHECK(value.dim() == 4 && locations.dim() == 6 && weights.dim() == 5,
                  "vdit::ms_deform_attn: expected value [N, S, M, D], sampling_locations "
                  "[N, Q, M, L, P, 2], attention_weights [N, Q, M, L, P]");
  Problem problem{value.size(0),     value.size(1),     value.size(2), value.size(3),
                  locations.size(1), locations.size(4), make_levels(spatial_shapes, value.size(1))};
  const int64_t num_levels = static_cast<int64_t>(problem.levels.size());
  const bool fits = locations.size(0) == problem.batch && locations.size(2) == problem.heads &&
                    locations.size(3) == num_levels && locations.size(5) == 2;
  STD_TORCH_CHECK(fits, "vdit::ms_deform_attn: sampling_locations do not match value");
  for (int64_t axis = 0; axis < 5; ++axis) {
    STD_TORCH_CHECK(weights.size(axis) == locations.size(axis),
                    "vdit::ms_deform_attn: attention_weights do not match sampling_locations");
  }
  return problem;
}

template <typename T>
const T* read(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* write(Tensor& tensor, bool wanted = true) {
  return wanted ? static_cast<T*>(tensor.mutable_data_ptr()) : nullptr;
}

Tensor ms_deform_attn_cpu(const Tensor& value, const std::vector<int64_t>& spatial_shapes,
                          const Tensor& sampling_locations, const Tensor& attention_weights) {
  const Problem problem =
      make_problem(value, spatial_shapes, sampling_locations, attention_weights);
  const Tensor values = torch::stable::contiguous(value);
  const Tensor locations = prepare(sampling_locations, accumulate_type(value));
  const Tensor weights = prepare(attention_weights, accumulate_type(value));
  Tensor out = torch::stable::new_empty(
      values, {problem.batch, problem.queries, problem.heads * problem.channels});
  const int64_t blocks = (problem.queries + kQueryBlock - 1) / kQueryBlock;
  dispatch(value.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using Acc = AccOf<T>;
    torch::stable::parallel_for(0, problem.batch * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % blocks * kQueryBlock;
        const int64_t last = std::min(first + kQueryBlock, problem.queries);
        forward_queries(problem, task / blocks, first, last, read<T>(values), read<Acc>(locations),
                        read<Acc>(weights), write<T>(out));
      }
    });
  });
  return out;
}

// A gradient that nobody asked for is returned as an empty tensor of one axis.
Tensor empty_gradient(const Tensor& like, bool wanted) {
  return wanted ? torch::stable::empty_like(like) : torch::stable::new_empty(like, {0});
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward_cpu(
    const Tensor& grad_out, const Tensor& value, const std::vector<int64_t>& spatial_shapes,
    const Tensor& sampling_locations, const Tensor& attention_weights,
    const std::vector<bool>& output_mask) {
  const Problem problem =
      make_problem(value, spatial_shapes, sampling_locations, attention_weights);
  STD_TORCH_CHECK(grad_out.numel() ==
                      problem.batch * problem.queries * problem.heads * problem.channels,
                  "vdit::ms_deform_attn_backward: expected grad_out [N, Q, M * D]");
  const Tensor grads = prepare(grad_out, value.scalar_type());
  const Tensor values = torch::stable::contiguous(value);
  const Tensor locations = prepare(sampling_locations, accumulate_type(value));
  const Tensor weights = prepare(attention_weights, accumulate_type(value));
  Tensor grad_value = empty_gradient(values, output_mask.at(0));
  Tensor grad_locations = empty_gradient(locations, output_mask.at(1));
  Tensor grad_weights = empty_gradient(weights, output_mask.at(2));
  dispatch(value.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using Acc = AccOf<T>;
    const Gradients<T, Acc> targets{write<T>(grad_value, output_mask[0]),
                                    write<Acc>(grad_locations, output_mask[1]),
                                    write<Acc>(grad_weights, output_mask[2])};
    const int64_t tasks = problem.batch * problem.heads;
    torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        backward_head(problem, task / problem.heads, task % problem.heads, read<T>(grads),
                      read<T>(values), read<Acc>(locations), read<Acc>(weights), targets);
      }
    });
  });
  return {grad_value, grad_locations, grad_weights};
}

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
}

STABLE_TORCH_LIBRARY_IMPL(vdit, CPU, library) {
  library.impl("ms_deform_attn", TORCH_BOX(&vdit::ms_deform_attn_cpu));
  library.impl("ms_deform_attn_backward", TORCH_BOX(&vdit::ms_deform_attn_backward_cpu));
}

// Importing the module is what registers the operators; it has no members.
PyMODINIT_FUNC PyInit__C(void) {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr};
  return PyModule_Create(&definition);
}
