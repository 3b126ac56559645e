// Sizes of one call of multi-scale deformable attention; nothing here depends on torch.
//
// Arrays are contiguous, row-major:
//   value      [N, S, M, D]        features of all levels, S = sum of height * width
//   locations  [N, Q, M, L, P, 2]  (x, y), 0..1 over each level
//   weights    [N, Q, M, L, P]
//   out        [N, Q, M, D]

#pragma once

#include <cstdint>

namespace vdit {

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

}  // namespace vdit
