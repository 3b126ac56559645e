// Tensors to what kernels take: checks that cost nothing, contiguous copies where needed, results.
// Serves every device.

#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <vector>

#include "problem.h"

namespace vdit {

using torch::headeronly::ScalarType;

inline Dtype dtype_of(const torch::stable::Tensor& value) {
  switch (value.scalar_type()) {
    case ScalarType::Float:
      return kFloat;
    case ScalarType::Double:
      return kDouble;
    case ScalarType::BFloat16:
      return kBFloat16;
    case ScalarType::Half:
      return kHalf;
    default:
      STD_TORCH_CHECK(false, "vdit::ms_deform_attn: value must be float32, float64, bfloat16 or ",
                      "float16");
  }
}

inline torch::stable::Tensor contiguous_as(const torch::stable::Tensor& tensor, ScalarType type) {
  if (tensor.scalar_type() == type) return torch::stable::contiguous(tensor);
  return torch::stable::contiguous(torch::stable::to(tensor, type));
}

// The inputs of one call, contiguous and in the types that kernels expect.
struct Inputs {
  Dtype dtype;
  ScalarType wide;  // of locations and weights
  torch::stable::Tensor value, locations, weights;
  std::vector<Level> levels;
  Problem problem;

  Inputs(const torch::stable::Tensor& any_value, const std::vector<int64_t>& spatial_shapes,
         const torch::stable::Tensor& any_locations, const torch::stable::Tensor& any_weights)
      : dtype(dtype_of(any_value)),
        wide(dtype == kDouble ? ScalarType::Double : ScalarType::Float),
        value(torch::stable::contiguous(any_value)),
        locations(contiguous_as(any_locations, wide)),
        weights(contiguous_as(any_weights, wide)) {
    STD_TORCH_CHECK(value.dim() == 4 && locations.dim() == 6 && weights.dim() == 5,
                    "vdit::ms_deform_attn: expected value [N, S, M, D], sampling_locations "
                    "[N, Q, M, L, P, 2], attention_weights [N, Q, M, L, P]");
    add_levels(spatial_shapes);
    problem = {value.size(0),     value.size(1),     value.size(2),
               value.size(3),     locations.size(1), static_cast<int64_t>(levels.size()),
               locations.size(4), levels.data()};
    STD_TORCH_CHECK(locations.size(0) == problem.batch && locations.size(2) == problem.heads &&
                        locations.size(3) == problem.num_levels && locations.size(5) == 2,
                    "vdit::ms_deform_attn: sampling_locations do not match value");
    for (int64_t axis = 0; axis < 5; ++axis) {
      STD_TORCH_CHECK(weights.size(axis) == locations.size(axis),
                      "vdit::ms_deform_attn: attention_weights do not match sampling_locations");
    }
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  torch::stable::Tensor like_output(const torch::stable::Tensor& grad_out) const {
    STD_TORCH_CHECK(grad_out.numel() ==
                        problem.batch * problem.queries * problem.heads * problem.channels,
                    "vdit::ms_deform_attn_backward: expected grad_out [N, Q, M * D]");
    return contiguous_as(grad_out, value.scalar_type());
  }

 private:
  void add_levels(const std::vector<int64_t>& spatial_shapes) {
    STD_TORCH_CHECK(!spatial_shapes.empty() && spatial_shapes.size() % 2 == 0,
                    "vdit::ms_deform_attn: spatial_shapes must hold pairs");
    int64_t start = 0;
    for (size_t i = 0; i < spatial_shapes.size(); i += 2) {
      const int64_t height = spatial_shapes[i], width = spatial_shapes[i + 1];
      STD_TORCH_CHECK(height > 0 && width > 0 && height <= INT32_MAX && width <= INT32_MAX,
                      "vdit::ms_deform_attn: spatial_shapes must be positive 32-bit numbers");
      levels.push_back({static_cast<int32_t>(height), static_cast<int32_t>(width), start});
      start += height * width;
    }
    STD_TORCH_CHECK(start == value.size(1), "vdit::ms_deform_attn: spatial_shapes have ", start,
                    " pixels, value has ", value.size(1));
  }
};

// The result of a forward pass, and the arrays of the pass.
struct Output {
  torch::stable::Tensor tensor;
  Forward arrays;

  explicit Output(const Inputs& inputs)
      : tensor(torch::stable::new_empty(inputs.value,
                                        {inputs.problem.batch, inputs.problem.queries,
                                         inputs.problem.heads * inputs.problem.channels})),
        arrays{inputs.value.const_data_ptr(), inputs.locations.const_data_ptr(),
               inputs.weights.const_data_ptr(), tensor.mutable_data_ptr()} {}
};

// The results of a backward pass, and the arrays of the pass. A gradient that was not asked for is
// an empty tensor of one axis. `zeros` makes the gradient of value like a tensor.
struct Gradients {
  torch::stable::Tensor grad_out, value, locations, weights;
  Backward arrays;

  template <typename Zeros>
  Gradients(const Inputs& inputs, const torch::stable::Tensor& any_grad_out,
            const std::vector<bool>& wanted, Zeros&& zeros)
      : grad_out(inputs.like_output(any_grad_out)),
        value(wanted.at(0) ? zeros(inputs.value) : unwanted(inputs.value)),
        locations(wanted.at(1) ? torch::stable::empty_like(inputs.locations)
                               : unwanted(inputs.locations)),
        weights(wanted.at(2) ? torch::stable::empty_like(inputs.weights)
                             : unwanted(inputs.weights)),
        arrays{grad_out.const_data_ptr(),
               inputs.value.const_data_ptr(),
               inputs.locations.const_data_ptr(),
               inputs.weights.const_data_ptr(),
               wanted[0] ? value.mutable_data_ptr() : nullptr,
               wanted[1] ? locations.mutable_data_ptr() : nullptr,
               wanted[2] ? weights.mutable_data_ptr() : nullptr} {}

 private:
  static torch::stable::Tensor unwanted(const torch::stable::Tensor& like) {
    return torch::stable::new_empty(like, {0});
  }
};

}  // namespace vdit
