// Multi-scale deformable attention on the CPU, for the instruction set of the including file.
//
// The samples of a query and of some of its heads are prepared side by side (where they lie, how
// much their four corners weigh); then each head walks over its own with a few registers of
// channels.

#include <stdint.h>
#include <string.h>

#include "cpu_kernels.h"

namespace vdit {
namespace {

#include "cpu_lanes.h"

template <typename T>
struct AccOf {
  typedef float Type;
};
template <>
struct AccOf<double> {
  typedef double Type;
};

#include "cpu_samples.h"

// ---- forward -----------------------------------------------------------------------------------

// Computes R registers of W channels. `head` points at the first of them in pixel 0.
template <typename T, typename Acc, int W, int R>
inline void forward_channels(const Samples<Acc>& samples, int64_t m, const T* head, int64_t stride,
                             T* out) {
  Lanes<Acc, W> sums[R] = {};
  samples.each(m, [&](const Block<Acc>& block, int k) {
    // A corner beyond the border is masked instead of skipped: its branch would be guessed wrong.
    const T* upper = head + block.pixel[k] * stride;
    const int64_t right = block.right_step[k] * stride, lower = block.lower_step[k] * stride;
    const T* sources[4] = {upper, upper + right, upper + lower, upper + lower + right};
    Lanes<Acc, W> terms[4][R];
    for (int corner = 0; corner < 4; ++corner) {
      const int32_t mask = block.is_pixel[corner][k];
      for (int r = 0; r < R; ++r) {
        terms[corner][r] = keep<Acc, W>(load<Acc, W>(sources[corner] + r * W), mask);
      }
    }
    // Two short sums instead of one long one: they run at the same time.
    for (int r = 0; r < R; ++r) {
      const Lanes<Acc, W> above =
          block.corners[0][k] * terms[0][r] + block.corners[1][k] * terms[1][r];
      const Lanes<Acc, W> below =
          block.corners[2][k] * terms[2][r] + block.corners[3][k] * terms[3][r];
      sums[r] += above + below;
    }
  });
  for (int r = 0; r < R; ++r) store<Acc, W>(sums[r], out + r * W);
}

template <typename T>
void forward(const Problem& problem, const Forward& arrays, int64_t begin, int64_t end) {
  typedef typename AccOf<T>::Type Acc;
  constexpr int W = VDIT_LANES == 1 ? 1 : VDIT_LANES * sizeof(float) / sizeof(Acc);
  const T* value = static_cast<const T*>(arrays.value);
  const Acc* locations = static_cast<const Acc*>(arrays.locations);
  const Acc* weights = static_cast<const Acc*>(arrays.weights);
  T* out = static_cast<T*>(arrays.out);
  const int64_t D = problem.channels;
  const int64_t stride = problem.heads * D;
  const Samples<Acc> samples(problem, 0, problem.num_levels);
  for (int64_t row = begin; row < end; ++row) {
    const T* frame = value + row / problem.queries * problem.pixels * stride;
    for (int64_t first = 0; first < problem.heads; first += samples.heads) {
      const int64_t heads = smaller(samples.heads, problem.heads - first);
      const int64_t position = row * problem.heads + first;
      const int64_t sample = position * samples.per_head;
      samples.prepare_all(locations + 2 * sample, weights + sample, heads * samples.per_head);
      for (int64_t m = 0; m < heads; ++m) {
        const T* head = frame + (first + m) * D;
        T* target = out + (position + m) * D;
        int64_t d = 0;
        for (; d + 4 * W <= D; d += 4 * W) {
          forward_channels<T, Acc, W, 4>(samples, m, head + d, stride, target + d);
        }
        for (; d + 2 * W <= D; d += 2 * W) {
          forward_channels<T, Acc, W, 2>(samples, m, head + d, stride, target + d);
        }
        for (; d + W <= D; d += W) {
          forward_channels<T, Acc, W, 1>(samples, m, head + d, stride, target + d);
        }
        for (; d < D; ++d) {
          forward_channels<T, Acc, 1, 1>(samples, m, head + d, stride, target + d);
        }
      }
    }
  }
}

// ---- backward ----------------------------------------------------------------------------------

// Adds to the gradients of R registers of W channels of value, and to the products of the corners
// with the gradient of the output. `grad_head` has a stride of its own, as it may be a buffer.
template <typename T, typename Acc, int W, int R, bool kValue, bool kProducts>
inline void backward_channels(const Samples<Acc>& samples, int64_t m, const T* head,
                              int64_t stride, const T* grad_out, Acc* __restrict grad_head,
                              int64_t grad_stride) {
  Lanes<Acc, W> grad[R];
  for (int r = 0; r < R; ++r) grad[r] = load<Acc, W>(grad_out + r * W);
  samples.each(m, [&](Block<Acc>& block, int k) {
    const int64_t pixel = block.pixel[k], right = block.right_step[k], lower = block.lower_step[k];
    const int64_t pixels[4] = {pixel, pixel + right, pixel + lower, pixel + lower + right};
    if constexpr (kProducts) {
      Lanes<Acc, W> products[4] = {};
      for (int corner = 0; corner < 4; ++corner) {
        const T* source = head + pixels[corner] * stride;
        const int32_t mask = block.is_pixel[corner][k];
        for (int r = 0; r < R; ++r) {
          products[corner] += keep<Acc, W>(load<Acc, W>(source + r * W), mask) * grad[r];
        }
      }
      add_totals<Acc, W>(products[0], products[1], products[2], products[3], block.products[k]);
    }
    if constexpr (kValue) {
      for (int corner = 0; corner < 4; ++corner) {
        if (!block.is_pixel[corner][k]) continue;
        const Acc share = block.corners[corner][k];
        Acc* target = grad_head + pixels[corner] * grad_stride;
        for (int r = 0; r < R; ++r) {
          store<Acc, W>(load<Acc, W>(target + r * W) + share * grad[r], target + r * W);
        }
      }
    }
  });
}

template <typename T, typename Acc, bool kValue, bool kProducts>
inline void backward_head(const Samples<Acc>& samples, int64_t m, int64_t D, const T* head,
                          int64_t stride, const T* grad_out, Acc* grad_head, int64_t grad_stride) {
  constexpr int W = VDIT_LANES == 1 ? 1 : VDIT_LANES * sizeof(float) / sizeof(Acc);
  int64_t d = 0;
  for (; d + 4 * W <= D; d += 4 * W) {
    backward_channels<T, Acc, W, 4, kValue, kProducts>(samples, m, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
  for (; d + 2 * W <= D; d += 2 * W) {
    backward_channels<T, Acc, W, 2, kValue, kProducts>(samples, m, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
  for (; d + W <= D; d += W) {
    backward_channels<T, Acc, W, 1, kValue, kProducts>(samples, m, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
  for (; d < D; ++d) {
    backward_channels<T, Acc, 1, 1, kValue, kProducts>(samples, m, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
}

template <typename T>
void backward(const Problem& problem, const Backward& arrays, const Share& share) {
  typedef typename AccOf<T>::Type Acc;
  constexpr bool kInPlace = sizeof(T) == sizeof(Acc);
  const int64_t D = problem.channels, M = problem.heads;
  const int64_t stride = M * D;
  const int64_t num_heads = share.last_head - share.first_head;
  const int64_t offset = share.frame * problem.pixels * stride + share.first_head * D;
  const Samples<Acc> samples(problem, share.first_level, share.last_level);
  const T* value = static_cast<const T*>(arrays.value) + offset;
  T* grad_value = static_cast<T*>(arrays.grad_value);
  Acc* grad_locations = static_cast<Acc*>(arrays.grad_locations);
  Acc* grad_weights = static_cast<Acc*>(arrays.grad_weights);
  const bool wants_value = grad_value != nullptr;
  const bool wants_products = grad_locations != nullptr || grad_weights != nullptr;

  // 16-bit gradients are summed in float, then rounded once.
  const Array<Acc> buffer(wants_value && !kInPlace ? problem.pixels * num_heads * D : 0);
  Acc* sums = buffer.get();
  const int64_t sums_stride = kInPlace ? stride : num_heads * D;
  if constexpr (kInPlace) {
    if (wants_value) sums = grad_value + offset;
  } else {
    if (wants_value) memset(sums, 0, problem.pixels * num_heads * D * sizeof(Acc));
  }

  for (int64_t q = 0; q < problem.queries; ++q) {
    const int64_t row = share.frame * problem.queries + q;
    for (int64_t first = 0; first < num_heads; first += samples.heads) {
      const int64_t heads = smaller(samples.heads, num_heads - first);
      const int64_t position = row * M + share.first_head + first;
      const int64_t sample = (position * problem.num_levels + share.first_level) * problem.points;
      const int64_t count = heads * samples.per_head;
      samples.prepare_all(static_cast<const Acc*>(arrays.locations) + 2 * sample,
                          static_cast<const Acc*>(arrays.weights) + sample, count);
      for (int64_t m = 0; m < heads; ++m) {
        const T* grad_out = static_cast<const T*>(arrays.grad_out) + (position + m) * D;
        const T* head = value + (first + m) * D;
        Acc* grad_head = sums + (first + m) * D;
        if (wants_products && wants_value) {
          backward_head<T, Acc, true, true>(samples, m, D, head, stride, grad_out, grad_head,
                                            sums_stride);
        } else if (wants_products) {
          backward_head<T, Acc, false, true>(samples, m, D, head, stride, grad_out, grad_head,
                                             sums_stride);
        } else if (wants_value) {
          backward_head<T, Acc, true, false>(samples, m, D, head, stride, grad_out, grad_head,
                                             sums_stride);
        }
      }
      if (wants_products) {
        samples.finish_all(grad_locations != nullptr ? grad_locations + 2 * sample : nullptr,
                           grad_weights != nullptr ? grad_weights + sample : nullptr, count);
      }
    }
  }

  if constexpr (!kInPlace) {
    if (!wants_value) return;
    const Level& bottom = problem.levels[share.last_level - 1];
    const int64_t end = bottom.start + static_cast<int64_t>(bottom.height) * bottom.width;
    for (int64_t s = problem.levels[share.first_level].start; s < end; ++s) {
      T* target = grad_value + offset + s * stride;
      for (int64_t d = 0; d < num_heads * D; ++d) narrow(sums[s * sums_stride + d], target + d);
    }
  }
}

#define VDIT_TEXT_OF(name) #name
#define VDIT_TEXT(name) VDIT_TEXT_OF(name)

}  // namespace

const CpuKernels VDIT_KERNELS = {
    VDIT_TEXT(VDIT_CAPABILITY),
    {forward<float>, forward<double>, forward<BFloat16>, forward<Half>},
    {backward<float>, backward<double>, backward<BFloat16>, backward<Half>},
};

}  // namespace vdit
