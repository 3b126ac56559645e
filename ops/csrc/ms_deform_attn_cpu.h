// Multi-scale deformable attention on the CPU, without any dependency on torch.
//
// Arrays are contiguous, row-major:
//   value      [N, S, M, D]        features of all levels, S = sum of height * width
//   locations  [N, Q, M, L, P, 2]  (x, y), 0..1 over each level
//   weights    [N, Q, M, L, P]
//   out        [N, Q, M, D]
// T is the type of value and out, Acc (float or double) that of everything else and of the sums.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace vdit {

struct Level {
  int64_t height;
  int64_t width;
  int64_t start;  // index of its first pixel along S
};

struct Problem {
  int64_t batch;     // N
  int64_t pixels;    // S
  int64_t heads;     // M
  int64_t channels;  // D
  int64_t queries;   // Q
  int64_t points;    // P
  std::vector<Level> levels;

  int64_t samples() const { return static_cast<int64_t>(levels.size()) * points; }
};

template <typename Acc>
struct Corner {
  int64_t pixel;  // index along S
  Acc weight;     // bilinear
  Acc slope_x;    // derivative of the weight by x, in pixels
  Acc slope_y;
};

// Writes the corners of the cell around (x, y) that lie inside the level and returns their number.
// The comparison is false for NaN, so that NaN and infinite locations have no corner at all.
template <typename Acc>
inline int find_corners(const Acc* location, const Level& level, Corner<Acc>* corners) {
  const Acc x = location[0] * static_cast<Acc>(level.width) - Acc(0.5);
  const Acc y = location[1] * static_cast<Acc>(level.height) - Acc(0.5);
  const bool inside = x > -1 && y > -1 && x < static_cast<Acc>(level.width) &&
                      y < static_cast<Acc>(level.height);
  if (!inside) return 0;
  const Acc left = std::floor(x);
  const Acc top = std::floor(y);
  const Acc share_x[2] = {1 - (x - left), x - left};
  const Acc share_y[2] = {1 - (y - top), y - top};
  int count = 0;
  for (int i = 0; i < 4; ++i) {
    const int right = i & 1;
    const int below = i >> 1;
    const int64_t column = static_cast<int64_t>(left) + right;
    const int64_t row = static_cast<int64_t>(top) + below;
    if (column < 0 || column >= level.width || row < 0 || row >= level.height) continue;
    corners[count++] = {level.start + row * level.width + column, share_x[right] * share_y[below],
                        right ? share_y[below] : -share_y[below],
                        below ? share_x[right] : -share_x[right]};
  }
  return count;
}

// Adds scale * sum of the weighted corners to the `channels` numbers at sum. The values of one
// pixel and head start at value + pixel * stride.
template <typename T, typename Acc>
inline void add_sample(const T* value, int64_t stride, const Corner<Acc>* corners, int count,
                       Acc scale, int64_t channels, Acc* sum) {
  if (count == 4) {
    const T* v0 = value + corners[0].pixel * stride;
    const T* v1 = value + corners[1].pixel * stride;
    const T* v2 = value + corners[2].pixel * stride;
    const T* v3 = value + corners[3].pixel * stride;
    const Acc w0 = scale * corners[0].weight;
    const Acc w1 = scale * corners[1].weight;
    const Acc w2 = scale * corners[2].weight;
    const Acc w3 = scale * corners[3].weight;
#pragma omp simd
    for (int64_t d = 0; d < channels; ++d) {
      sum[d] += w0 * static_cast<Acc>(v0[d]) + w1 * static_cast<Acc>(v1[d]) +
                w2 * static_cast<Acc>(v2[d]) + w3 * static_cast<Acc>(v3[d]);
    }
    return;
  }
  for (int i = 0; i < count; ++i) {
    const T* v = value + corners[i].pixel * stride;
    const Acc w = scale * corners[i].weight;
#pragma omp simd
    for (int64_t d = 0; d < channels; ++d) sum[d] += w * static_cast<Acc>(v[d]);
  }
}

// Computes the queries begin..end of frame n.
template <typename T, typename Acc>
void forward_queries(const Problem& problem, int64_t n, int64_t begin, int64_t end, const T* value,
                     const Acc* locations, const Acc* weights, T* out) {
  const int64_t stride = problem.heads * problem.channels;
  const T* frame = value + n * problem.pixels * stride;
  std::vector<Acc> sum(problem.channels);
  Corner<Acc> corners[4];
  for (int64_t q = begin; q < end; ++q) {
    for (int64_t m = 0; m < problem.heads; ++m) {
      const int64_t row = (n * problem.queries + q) * problem.heads + m;
      const T* head = frame + m * problem.channels;
      int64_t sample = row * problem.samples();
      std::fill(sum.begin(), sum.end(), Acc(0));
      for (const Level& level : problem.levels) {
        for (int64_t p = 0; p < problem.points; ++p, ++sample) {
          const int count = find_corners(locations + 2 * sample, level, corners);
          add_sample(head, stride, corners, count, weights[sample], problem.channels, sum.data());
        }
      }
      for (int64_t d = 0; d < problem.channels; ++d) {
        out[row * problem.channels + d] = static_cast<T>(sum[d]);
      }
    }
  }
}

// Where the gradients go; a null pointer means that nobody asked.
template <typename T, typename Acc>
struct Gradients {
  T* value;
  Acc* locations;
  Acc* weights;
};

template <typename T, typename Acc>
inline Acc dot(const T* values, const Acc* grad, int64_t channels) {
  Acc sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < channels; ++d) sum += static_cast<Acc>(values[d]) * grad[d];
  return sum;
}

// Backward of one sample: grad [D] is the gradient of the output of its query and head.
template <typename T, typename Acc>
inline void backward_sample(const Problem& problem, const Level& level, const T* head,
                            const Acc* grad, const Acc* locations, const Acc* weights,
                            int64_t sample, Acc* grad_head, const Gradients<T, Acc>& grads) {
  const int64_t channels = problem.channels;
  const int64_t stride = problem.heads * channels;
  const Acc weight = weights[sample];
  const bool wants_dot = grads.locations != nullptr || grads.weights != nullptr;
  Corner<Acc> corners[4];
  const int count = find_corners(locations + 2 * sample, level, corners);
  Acc sampled = 0;
  Acc slope_x = 0;
  Acc slope_y = 0;
  for (int i = 0; i < count; ++i) {
    const Corner<Acc>& corner = corners[i];
    if (wants_dot) {
      const Acc product = dot(head + corner.pixel * stride, grad, channels);
      sampled += corner.weight * product;
      slope_x += corner.slope_x * product;
      slope_y += corner.slope_y * product;
    }
    if (grads.value != nullptr) {
      Acc* target = grad_head + corner.pixel * channels;
      const Acc scale = weight * corner.weight;
#pragma omp simd
      for (int64_t d = 0; d < channels; ++d) target[d] += scale * grad[d];
    }
  }
  if (grads.weights != nullptr) grads.weights[sample] = sampled;
  if (grads.locations != nullptr) {
    grads.locations[2 * sample] = weight * slope_x * static_cast<Acc>(level.width);
    grads.locations[2 * sample + 1] = weight * slope_y * static_cast<Acc>(level.height);
  }
}

// Computes all gradients of head m of frame n. One task owns everything that it writes, so the
// result does not depend on the number of threads.
template <typename T, typename Acc>
void backward_head(const Problem& problem, int64_t n, int64_t m, const T* grad_out, const T* value,
                   const Acc* locations, const Acc* weights, const Gradients<T, Acc>& grads) {
  const int64_t channels = problem.channels;
  const int64_t stride = problem.heads * channels;
  const int64_t offset = n * problem.pixels * stride + m * channels;
  std::vector<Acc> grad(channels);
  std::vector<Acc> grad_head(grads.value != nullptr ? problem.pixels * channels : 0, Acc(0));
  for (int64_t q = 0; q < problem.queries; ++q) {
    const int64_t row = (n * problem.queries + q) * problem.heads + m;
    for (int64_t d = 0; d < channels; ++d) {
      grad[d] = static_cast<Acc>(grad_out[row * channels + d]);
    }
    int64_t sample = row * problem.samples();
    for (const Level& level : problem.levels) {
      for (int64_t p = 0; p < problem.points; ++p, ++sample) {
        backward_sample(problem, level, value + offset, grad.data(), locations, weights, sample,
                        grad_head.data(), grads);
      }
    }
  }
  if (grads.value == nullptr) return;
  for (int64_t s = 0; s < problem.pixels; ++s) {
    T* target = grads.value + offset + s * stride;
    for (int64_t d = 0; d < channels; ++d) {
      target[d] = static_cast<T>(grad_head[s * channels + d]);
    }
  }
}

}  // namespace vdit
