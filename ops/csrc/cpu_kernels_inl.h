// Multi-scale deformable attention on the CPU, for the instruction set of the including file.
//
// Every query and head first prepares all of its samples side by side (where they lie, how much
// their four corners weigh), then walks over them with a few registers of channels.

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

template <typename T>
class Array {
 public:
  explicit Array(int64_t size) : data_(new T[size > 0 ? size : 1]) {}
  ~Array() { delete[] data_; }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* get() const { return data_; }

 private:
  T* data_;
};

// Where a sample lies: outside, in a cell that the border cuts, or among four pixels.
enum Place : int32_t { kOutside = 0, kBorder = 1, kInside = 2 };

// The samples of one query and head, one array per property.
template <typename Acc>
struct Samples {
  int64_t count;  // K = L * P
  Array<Acc> numbers;
  Array<int32_t> integers;
  Array<int64_t> starts;
  Acc *level_width, *level_height;  // pixels
  Acc *right, *below;               // shares of the right and of the lower corners
  Acc *weight;                      // attention
  Acc *corners;                     // attention times bilinear, [4, K]
  Acc *products;                    // of the corners with a gradient, [K, 4]
  int32_t *width, *height;          // of the level
  int32_t *column, *row;            // of the upper left corner
  int32_t *place;

  explicit Samples(const Problem& problem)
      : count(problem.num_levels * problem.points), numbers(13 * count), integers(5 * count), starts(count) {
    Acc* number = numbers.get();
    level_width = number, level_height = number + count;
    right = number + 2 * count, below = number + 3 * count;
    weight = number + 4 * count, corners = number + 5 * count, products = number + 9 * count;
    int32_t* integer = integers.get();
    width = integer, height = integer + count;
    column = integer + 2 * count, row = integer + 3 * count, place = integer + 4 * count;
    for (int64_t k = 0; k < count; ++k) {
      const Level& level = problem.levels[k / problem.points];
      width[k] = level.width, height[k] = level.height;
      level_width[k] = static_cast<Acc>(level.width);
      level_height[k] = static_cast<Acc>(level.height);
      starts.get()[k] = level.start;
    }
  }

  // Index along S of the upper left corner.
  int64_t pixel(int64_t k) const {
    return starts.get()[k] + static_cast<int64_t>(row[k]) * width[k] + column[k];
  }
};

// Prepares the samples first..last. The comparisons are false for NaN, so that NaN and infinite
// locations lie outside.
template <typename Acc>
void prepare(const Samples<Acc>& samples, const Acc* locations, const Acc* weights, int64_t first,
             int64_t last) {
  const int64_t count = samples.count;
#pragma omp simd
  for (int64_t k = first; k < last; ++k) {
    const Acc wide = samples.level_width[k], high = samples.level_height[k];
    const Acc x = locations[2 * k] * wide - Acc(0.5);
    const Acc y = locations[2 * k + 1] * high - Acc(0.5);
    const bool inside = (x > Acc(-1)) & (y > Acc(-1)) & (x < wide) & (y < high);
    const Acc safe_x = inside ? x : Acc(0);
    const Acc safe_y = inside ? y : Acc(0);
    const int32_t column = static_cast<int32_t>(safe_x + Acc(1)) - 1;  // floor, as x > -1
    const int32_t row = static_cast<int32_t>(safe_y + Acc(1)) - 1;
    const Acc right = safe_x - static_cast<Acc>(column);
    const Acc below = safe_y - static_cast<Acc>(row);
    const bool whole = (column >= 0) & (row >= 0) & (column < samples.width[k] - 1) &
                       (row < samples.height[k] - 1);
    const Acc weight = weights[k];
    samples.right[k] = right;
    samples.below[k] = below;
    samples.weight[k] = weight;
    samples.column[k] = column;
    samples.row[k] = row;
    samples.place[k] = inside ? (whole ? kInside : kBorder) : kOutside;
    const Acc upper = weight * (Acc(1) - below);
    const Acc lower = weight * below;
    samples.corners[k] = upper * (Acc(1) - right);
    samples.corners[count + k] = upper * right;
    samples.corners[2 * count + k] = lower * (Acc(1) - right);
    samples.corners[3 * count + k] = lower * right;
  }
}

// Whether corner 0..3 (upper left, upper right, lower left, lower right) of a sample is a pixel.
template <typename Acc>
inline bool is_pixel(const Samples<Acc>& samples, int64_t k, int corner) {
  const int32_t column = samples.column[k] + (corner & 1);
  const int32_t row = samples.row[k] + (corner >> 1);
  return column >= 0 && row >= 0 && column < samples.width[k] && row < samples.height[k];
}

// ---- forward -----------------------------------------------------------------------------------

// Computes R registers of W channels. `head` points at the first of them in pixel 0.
template <typename T, typename Acc, int W, int R>
inline void forward_channels(const Samples<Acc>& samples, const T* head, int64_t stride, T* out) {
  Lanes<Acc, W> sums[R] = {};
  const int64_t count = samples.count;
  for (int64_t k = 0; k < count; ++k) {
    if (samples.place[k] == kOutside) continue;
    const T* upper = head + samples.pixel(k) * stride;
    const T* lower = upper + samples.width[k] * stride;
    const Acc w0 = samples.corners[k], w1 = samples.corners[count + k];
    const Acc w2 = samples.corners[2 * count + k], w3 = samples.corners[3 * count + k];
    if (samples.place[k] == kInside) {
      for (int r = 0; r < R; ++r) {
        sums[r] += w0 * load<Acc, W>(upper + r * W);
        sums[r] += w1 * load<Acc, W>(upper + stride + r * W);
        sums[r] += w2 * load<Acc, W>(lower + r * W);
        sums[r] += w3 * load<Acc, W>(lower + stride + r * W);
      }
      continue;
    }
    const T* sources[4] = {upper, upper + stride, lower, lower + stride};
    for (int corner = 0; corner < 4; ++corner) {
      if (!is_pixel(samples, k, corner)) continue;
      const Acc share = samples.corners[corner * count + k];
      for (int r = 0; r < R; ++r) sums[r] += share * load<Acc, W>(sources[corner] + r * W);
    }
  }
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
  const Samples<Acc> samples(problem);
  for (int64_t row = begin; row < end; ++row) {
    const T* frame = value + row / problem.queries * problem.pixels * stride;
    for (int64_t m = 0; m < problem.heads; ++m) {
      const int64_t position = row * problem.heads + m;
      const int64_t sample = position * samples.count;
      prepare(samples, locations + 2 * sample, weights + sample, 0, samples.count);
      const T* head = frame + m * D;
      T* target = out + position * D;
      int64_t d = 0;
      for (; d + 4 * W <= D; d += 4 * W) {
        forward_channels<T, Acc, W, 4>(samples, head + d, stride, target + d);
      }
      for (; d + 2 * W <= D; d += 2 * W) {
        forward_channels<T, Acc, W, 2>(samples, head + d, stride, target + d);
      }
      for (; d + W <= D; d += W) {
        forward_channels<T, Acc, W, 1>(samples, head + d, stride, target + d);
      }
      for (; d < D; ++d) forward_channels<T, Acc, 1, 1>(samples, head + d, stride, target + d);
    }
  }
}

// ---- backward ----------------------------------------------------------------------------------

// Adds to the gradients of R registers of W channels of value, and to the products of the corners
// with the gradient of the output. `grad_head` has a stride of its own, as it may be a buffer.
template <typename T, typename Acc, int W, int R, bool kValue, bool kProducts>
inline void backward_channels(const Samples<Acc>& samples, int64_t first, int64_t last,
                              const T* head, int64_t stride, const T* grad_out,
                              Acc* __restrict grad_head, int64_t grad_stride) {
  Lanes<Acc, W> grad[R];
  for (int r = 0; r < R; ++r) grad[r] = load<Acc, W>(grad_out + r * W);
  const int64_t count = samples.count;
  for (int64_t k = first; k < last; ++k) {
    if (samples.place[k] == kOutside) continue;
    const bool whole = samples.place[k] == kInside;
    const int64_t pixel = samples.pixel(k);
    const int64_t pixels[4] = {pixel, pixel + 1, pixel + samples.width[k],
                               pixel + samples.width[k] + 1};
    if constexpr (kProducts) {
      Lanes<Acc, W> products[4] = {};
      for (int corner = 0; corner < 4; ++corner) {
        if (!whole && !is_pixel(samples, k, corner)) continue;
        const T* source = head + pixels[corner] * stride;
        for (int r = 0; r < R; ++r) products[corner] += load<Acc, W>(source + r * W) * grad[r];
      }
      add_totals<Acc, W>(products[0], products[1], products[2], products[3],
                         samples.products + 4 * k);
    }
    if constexpr (kValue) {
      for (int corner = 0; corner < 4; ++corner) {
        if (!whole && !is_pixel(samples, k, corner)) continue;
        const Acc share = samples.corners[corner * count + k];
        Acc* target = grad_head + pixels[corner] * grad_stride;
        for (int r = 0; r < R; ++r) {
          store<Acc, W>(load<Acc, W>(target + r * W) + share * grad[r], target + r * W);
        }
      }
    }
  }
}

template <typename T, typename Acc, bool kValue, bool kProducts>
inline void backward_head(const Samples<Acc>& samples, int64_t first, int64_t last, int64_t D,
                          const T* head, int64_t stride, const T* grad_out, Acc* grad_head,
                          int64_t grad_stride) {
  constexpr int W = VDIT_LANES == 1 ? 1 : VDIT_LANES * sizeof(float) / sizeof(Acc);
  int64_t d = 0;
  for (; d + 4 * W <= D; d += 4 * W) {
    backward_channels<T, Acc, W, 4, kValue, kProducts>(samples, first, last, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
  for (; d + 2 * W <= D; d += 2 * W) {
    backward_channels<T, Acc, W, 2, kValue, kProducts>(samples, first, last, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
  for (; d + W <= D; d += W) {
    backward_channels<T, Acc, W, 1, kValue, kProducts>(samples, first, last, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
  for (; d < D; ++d) {
    backward_channels<T, Acc, 1, 1, kValue, kProducts>(samples, first, last, head + d, stride,
                                                       grad_out + d, grad_head + d, grad_stride);
  }
}

// Turns products into the gradients of locations and weights of the samples first..last.
template <typename Acc>
void finish(const Samples<Acc>& samples, int64_t first, int64_t last, Acc* grad_locations,
            Acc* grad_weights) {
  for (int64_t k = first; k < last; ++k) {
    const Acc* product = samples.products + 4 * k;
    const Acc right = samples.right[k], below = samples.below[k];
    const Acc upper = product[0] + right * (product[1] - product[0]);
    const Acc lower = product[2] + right * (product[3] - product[2]);
    if (grad_weights != nullptr) grad_weights[k] = upper + below * (lower - upper);
    if (grad_locations != nullptr) {
      const Acc slope_x =
          (Acc(1) - below) * (product[1] - product[0]) + below * (product[3] - product[2]);
      grad_locations[2 * k] = samples.weight[k] * slope_x * samples.level_width[k];
      grad_locations[2 * k + 1] = samples.weight[k] * (lower - upper) * samples.level_height[k];
    }
  }
}

template <typename T>
void backward(const Problem& problem, const Backward& arrays, const Share& share) {
  typedef typename AccOf<T>::Type Acc;
  constexpr bool kInPlace = sizeof(T) == sizeof(Acc);
  const Samples<Acc> samples(problem);
  const int64_t D = problem.channels, M = problem.heads;
  const int64_t stride = M * D;
  const int64_t heads = share.last_head - share.first_head;
  const int64_t offset = share.frame * problem.pixels * stride + share.first_head * D;
  const int64_t first = share.first_level * problem.points;
  const int64_t last = share.last_level * problem.points;
  const T* value = static_cast<const T*>(arrays.value) + offset;
  T* grad_value = static_cast<T*>(arrays.grad_value);
  Acc* grad_locations = static_cast<Acc*>(arrays.grad_locations);
  Acc* grad_weights = static_cast<Acc*>(arrays.grad_weights);
  const bool wants_value = grad_value != nullptr;
  const bool wants_products = grad_locations != nullptr || grad_weights != nullptr;

  // 16-bit gradients are summed in float, then rounded once.
  const Array<Acc> buffer(wants_value && !kInPlace ? problem.pixels * heads * D : 0);
  Acc* sums = buffer.get();
  const int64_t sums_stride = kInPlace ? stride : heads * D;
  if constexpr (kInPlace) {
    if (wants_value) sums = grad_value + offset;
  } else {
    if (wants_value) memset(sums, 0, problem.pixels * heads * D * sizeof(Acc));
  }

  for (int64_t q = 0; q < problem.queries; ++q) {
    const int64_t row = share.frame * problem.queries + q;
    for (int64_t m = 0; m < heads; ++m) {
      const int64_t position = row * M + share.first_head + m;
      const int64_t sample = position * samples.count;
      prepare(samples, static_cast<const Acc*>(arrays.locations) + 2 * sample,
              static_cast<const Acc*>(arrays.weights) + sample, first, last);
      const T* grad_out = static_cast<const T*>(arrays.grad_out) + position * D;
      const T* head = value + m * D;
      Acc* grad_head = sums + m * D;
      if (wants_products) {
        memset(samples.products + 4 * first, 0, 4 * (last - first) * sizeof(Acc));
        if (wants_value) {
          backward_head<T, Acc, true, true>(samples, first, last, D, head, stride, grad_out,
                                            grad_head, sums_stride);
        } else {
          backward_head<T, Acc, false, true>(samples, first, last, D, head, stride, grad_out,
                                             grad_head, sums_stride);
        }
        finish(samples, first, last,
               grad_locations != nullptr ? grad_locations + 2 * sample : nullptr,
               grad_weights != nullptr ? grad_weights + sample : nullptr);
      } else if (wants_value) {
        backward_head<T, Acc, true, false>(samples, first, last, D, head, stride, grad_out,
                                           grad_head, sums_stride);
      }
    }
  }

  if constexpr (!kInPlace) {
    if (!wants_value) return;
    const Level& bottom = problem.levels[share.last_level - 1];
    const int64_t end = bottom.start + static_cast<int64_t>(bottom.height) * bottom.width;
    for (int64_t s = problem.levels[share.first_level].start; s < end; ++s) {
      T* target = grad_value + offset + s * stride;
      for (int64_t d = 0; d < heads * D; ++d) narrow(sums[s * sums_stride + d], target + d);
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
