// One call of multi-scale deformable attention: its sizes and its arrays. Free of torch, and without
// member functions, of which the linker would keep one for files of different instruction sets.
//
// Arrays are contiguous, row-major:
//   value      [N, S, M, D]        features of all levels, S = sum of height * width
//   locations  [N, Q, M, L, P, 2]  (x, y), 0..1 over each level
//   weights    [N, Q, M, L, P]
//   out        [N, Q, M, D]

#pragma once

#include <cstdint>

namespace vdit {

// Of value and out; everything else is float, or double for double.
enum Dtype { kFloat, kDouble, kBFloat16, kHalf, kNumDtypes };

struct Level {
  int32_t height;
  int32_t width;
  int64_t start;  // index of its first pixel along S
};

struct Problem {
  int64_t batch;        // N
  int64_t pixels;       // S
  int64_t heads;        // M
  int64_t channels;     // D
  int64_t queries;      // Q
  int64_t num_levels;   // L
  int64_t points;       // P
  const Level* levels;  // on the CPU, whatever the device
};

struct Forward {
  const void* value;
  const void* locations;
  const void* weights;
  void* out;
};

// A null pointer among the gradients means that nobody asked. grad_value holds zeros at first.
struct Backward {
  const void* grad_out;
  const void* value;
  const void* locations;
  const void* weights;
  void* grad_value;
  void* grad_locations;
  void* grad_weights;
};

}  // namespace vdit
