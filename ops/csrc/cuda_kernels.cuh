// Multi-scale deformable attention on CUDA devices. Free of torch, so that it compiles wherever nvcc
// does.
//
// A group of kLanes threads serves one (frame, query, head), each with kVector neighboring channels.
// The group first prepares kLanes samples side by side, one per thread, then walks over them: what
// a thread needs of a sample comes from its owner by shuffles. Corners outside of a level are not
// read, by predicates instead of branches.

#pragma once

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

#include <cstdint>
#include <cstring>

#include "problem.h"

namespace vdit {

constexpr int kMaxLevels = 16;
constexpr int kThreads = 256;
constexpr unsigned kFullWarp = 0xffffffffu;

// What kernels need of a problem, passed by value and so in constant memory.
struct CudaProblem {
  int64_t frame_values;   // S * M * D
  int64_t frame_samples;  // Q * M * L * P
  int64_t frame_outputs;  // Q * M * D
  int32_t batch, groups, heads, channels, samples, points, stride;  // groups: Q * M of a frame
  int32_t height[kMaxLevels], width[kMaxLevels], start[kMaxLevels];
};

// How a call is cut into blocks; `error` says why it cannot be.
struct CudaPlan {
  CudaProblem problem;
  int32_t lanes;   // threads of a group
  bool is_vector;  // 16 bytes at once, else one number
  unsigned blocks_x, blocks_y;
  const char* error;
};

inline int32_t bytes_of(Dtype dtype) { return dtype == kDouble ? 8 : dtype == kFloat ? 4 : 2; }

// Plans a call. Offsets inside a frame are 32-bit numbers, those of frames 64-bit.
inline CudaPlan make_cuda_plan(const Problem& problem, Dtype dtype, bool is_aligned) {
  CudaPlan plan{};
  const int64_t limit = INT32_MAX;
  const int64_t frame = problem.pixels * problem.heads * problem.channels;
  const int64_t groups = problem.queries * problem.heads;
  if (problem.num_levels > kMaxLevels) {
    plan.error = "more than 16 levels are not supported on CUDA";
    return plan;
  }
  if (frame > limit / 2 || groups * problem.num_levels * problem.points > limit / 2 ||
      groups * problem.channels > limit / 2 || problem.batch > limit) {
    plan.error = "a frame has more than 2^30 numbers; split the heads or the queries";
    return plan;
  }
  CudaProblem& sizes = plan.problem;
  sizes.frame_values = frame;
  sizes.frame_samples = groups * problem.num_levels * problem.points;
  sizes.frame_outputs = groups * problem.channels;
  sizes.batch = static_cast<int32_t>(problem.batch);
  sizes.groups = static_cast<int32_t>(groups);
  sizes.heads = static_cast<int32_t>(problem.heads);
  sizes.channels = static_cast<int32_t>(problem.channels);
  sizes.samples = static_cast<int32_t>(problem.num_levels * problem.points);
  sizes.points = static_cast<int32_t>(problem.points);
  sizes.stride = static_cast<int32_t>(problem.heads * problem.channels);
  for (int64_t l = 0; l < problem.num_levels; ++l) {
    sizes.height[l] = problem.levels[l].height;
    sizes.width[l] = problem.levels[l].width;
    sizes.start[l] = static_cast<int32_t>(problem.levels[l].start);
  }
  const int32_t vector = 16 / bytes_of(dtype);
  plan.is_vector = is_aligned && sizes.channels % vector == 0;
  const int32_t pieces = plan.is_vector ? sizes.channels / vector : sizes.channels;
  plan.lanes = !plan.is_vector ? 32 : pieces <= 4 ? 4 : pieces <= 8 ? 8 : 16;
  const int64_t groups_per_block = kThreads / plan.lanes;
  plan.blocks_x = static_cast<unsigned>((groups + groups_per_block - 1) / groups_per_block);
  plan.blocks_y = static_cast<unsigned>(problem.batch < 65535 ? problem.batch : 65535);
  return plan;
}

// ---- numbers -----------------------------------------------------------------------------------

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

template <typename T>
struct AccOf {
  using Type = float;
};
template <>
struct AccOf<double> {
  using Type = double;
};

__device__ __forceinline__ float widen(float number) { return number; }
__device__ __forceinline__ double widen(double number) { return number; }
__device__ __forceinline__ float widen(BFloat16 number) {
  return __uint_as_float(static_cast<uint32_t>(number.bits) << 16);
}
__device__ __forceinline__ float widen(Half number) {
  return __half2float(__ushort_as_half(number.bits));
}

__device__ __forceinline__ void narrow(float number, float* target) { *target = number; }
__device__ __forceinline__ void narrow(double number, double* target) { *target = number; }
__device__ __forceinline__ void narrow(float number, BFloat16* target) {
  const uint32_t bits = __float_as_uint(number);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  target->bits = static_cast<uint16_t>(number == number ? rounded : 0x7fc0);
}
__device__ __forceinline__ void narrow(float number, Half* target) {
  target->bits = __half_as_ushort(__float2half_rn(number));
}

// kVector numbers of 16 bytes together, or one.
template <typename T, int kVector>
struct alignas(sizeof(T) * kVector) Pack {
  T numbers[kVector];
};

template <typename Acc, int kVector, typename T>
__device__ __forceinline__ void load(const T* source, bool wanted, Acc* numbers) {
  if constexpr (sizeof(Pack<T, kVector>) == 16) {
    uint4 bits = make_uint4(0, 0, 0, 0);
    if (wanted) bits = __ldg(reinterpret_cast<const uint4*>(source));
    Pack<T, kVector> pack;
    memcpy(&pack, &bits, sizeof(pack));
    for (int i = 0; i < kVector; ++i) numbers[i] = widen(pack.numbers[i]);
  } else {
    for (int i = 0; i < kVector; ++i) numbers[i] = wanted ? widen(source[i]) : Acc(0);
  }
}

template <typename Acc, int kVector, typename T>
__device__ __forceinline__ void store(const Acc* numbers, T* target) {
  Pack<T, kVector> pack;
  for (int i = 0; i < kVector; ++i) narrow(numbers[i], &pack.numbers[i]);
  *reinterpret_cast<Pack<T, kVector>*>(target) = pack;
}

// Adds to neighboring numbers in global memory; four floats in one transaction from sm_90 on.
template <int kVector>
__device__ __forceinline__ void add(float* target, const float* numbers) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr int kTogether = kVector / 4 * 4;
  for (int i = 0; i < kTogether; i += 4) {
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(target + i),
                 "f"(numbers[i]), "f"(numbers[i + 1]), "f"(numbers[i + 2]), "f"(numbers[i + 3])
                 : "memory");
  }
#else
  constexpr int kTogether = 0;
#endif
  for (int i = kTogether; i < kVector; ++i) atomicAdd(target + i, numbers[i]);
}

template <int kVector>
__device__ __forceinline__ void add(double* target, const double* numbers) {
  for (int i = 0; i < kVector; ++i) atomicAdd(target + i, numbers[i]);
}

// ---- samples -----------------------------------------------------------------------------------

// One sample. The mask has a bit for each corner (upper left, upper right, lower left, lower right)
// that is a pixel; the pixel may be any number if it has none.
template <typename Acc>
struct Sample {
  int32_t pixel;  // upper left corner, along S
  int32_t mask_and_level;
  Acc right, below;  // shares of the right and of the lower corners
  Acc weight;        // attention
};

// The comparisons are false for NaN, so that NaN and infinite locations lie outside.
template <typename Acc>
__device__ __forceinline__ Sample<Acc> make_sample(const CudaProblem& problem, const Acc* locations,
                                                   const Acc* weights, int32_t k) {
  Sample<Acc> sample{0, 0, Acc(0), Acc(0), Acc(0)};
  if (k >= problem.samples) return sample;
  const int32_t level = k / problem.points;
  const int32_t width = problem.width[level], height = problem.height[level];
  const Acc x = locations[2 * k] * static_cast<Acc>(width) - Acc(0.5);
  const Acc y = locations[2 * k + 1] * static_cast<Acc>(height) - Acc(0.5);
  sample.weight = weights[k];
  sample.mask_and_level = level << 4;
  if (!(x > Acc(-1) && y > Acc(-1) && x < static_cast<Acc>(width) && y < static_cast<Acc>(height))) {
    return sample;
  }
  const int32_t column = static_cast<int32_t>(floor(x)), row = static_cast<int32_t>(floor(y));
  sample.right = x - static_cast<Acc>(column);
  sample.below = y - static_cast<Acc>(row);
  sample.pixel = problem.start[level] + row * width + column;
  const int32_t columns = (column >= 0 ? 5 : 0) | (column + 1 < width ? 10 : 0);
  const int32_t rows = (row >= 0 ? 3 : 0) | (row + 1 < height ? 12 : 0);
  sample.mask_and_level |= columns & rows;
  return sample;
}

// Gives every thread of the group the sample of one of them.
template <int kLanes, typename Acc>
__device__ __forceinline__ Sample<Acc> shared_sample(const Sample<Acc>& own, int32_t owner) {
  return {__shfl_sync(kFullWarp, own.pixel, owner, kLanes),
          __shfl_sync(kFullWarp, own.mask_and_level, owner, kLanes),
          __shfl_sync(kFullWarp, own.right, owner, kLanes),
          __shfl_sync(kFullWarp, own.below, owner, kLanes),
          __shfl_sync(kFullWarp, own.weight, owner, kLanes)};
}

// Where the corners of a sample lie in memory, from the first channel of its head in pixel 0.
template <typename Acc>
__device__ __forceinline__ void corner_offsets(const CudaProblem& problem, const Sample<Acc>& sample,
                                               int32_t* offsets) {
  const int32_t width = problem.width[sample.mask_and_level >> 4];
  offsets[0] = sample.pixel * problem.stride;
  offsets[1] = offsets[0] + problem.stride;
  offsets[2] = offsets[0] + width * problem.stride;
  offsets[3] = offsets[2] + problem.stride;
}

// The group that a thread belongs to. Threads beyond the last group redo it and write nothing, as
// whole warps have to take part in shuffles.
struct Group {
  int32_t lane, index;
  bool is_real;
};

template <int kLanes>
__device__ __forceinline__ Group find_group(const CudaProblem& problem) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t index = thread / kLanes;
  const bool is_real = index < problem.groups;
  return {static_cast<int32_t>(threadIdx.x % kLanes),
          is_real ? static_cast<int32_t>(index) : problem.groups - 1, is_real};
}

// ---- kernels -----------------------------------------------------------------------------------

template <typename T, int kVector, int kLanes>
__global__ void __launch_bounds__(kThreads, 4)
    forward_kernel(const CudaProblem problem, const T* __restrict__ value,
                   const typename AccOf<T>::Type* __restrict__ locations,
                   const typename AccOf<T>::Type* __restrict__ weights, T* __restrict__ out) {
  using Acc = typename AccOf<T>::Type;
  const Group group = find_group<kLanes>(problem);
  const int32_t head = group.index % problem.heads * problem.channels;
  const int32_t step = kLanes * kVector;
  const int32_t rounds = (problem.channels + step - 1) / step;
  for (int64_t n = blockIdx.y; n < problem.batch; n += gridDim.y) {
    const T* frame = value + n * problem.frame_values + head;
    const int64_t first = n * problem.frame_samples +
                          static_cast<int64_t>(group.index) * problem.samples;
    T* target = out + n * problem.frame_outputs +
                static_cast<int64_t>(group.index) * problem.channels;
    for (int32_t round = 0; round < rounds; ++round) {
      const int32_t channel = round * step + group.lane * kVector;
      const bool in_head = channel < problem.channels;
      Acc sums[kVector] = {};
      for (int32_t base = 0; base < problem.samples; base += kLanes) {
        const Sample<Acc> own = make_sample<Acc>(problem, locations + 2 * first, weights + first,
                                                 base + group.lane);
#pragma unroll 4
        for (int32_t owner = 0; owner < kLanes; ++owner) {
          if (base + owner >= problem.samples) break;
          const Sample<Acc> sample = shared_sample<kLanes>(own, owner);
          int32_t offsets[4];
          corner_offsets(problem, sample, offsets);
          const Acc lower = sample.weight * sample.below, upper = sample.weight - lower;
          const Acc shares[4] = {upper - upper * sample.right, upper * sample.right,
                                 lower - lower * sample.right, lower * sample.right};
          Acc numbers[4][kVector];
#pragma unroll
          for (int corner = 0; corner < 4; ++corner) {
            load<Acc, kVector>(frame + offsets[corner] + channel,
                               in_head && (sample.mask_and_level >> corner & 1), numbers[corner]);
          }
#pragma unroll
          for (int corner = 0; corner < 4; ++corner) {
            for (int i = 0; i < kVector; ++i) sums[i] += shares[corner] * numbers[corner][i];
          }
        }
      }
      if (group.is_real && in_head) store<Acc, kVector>(sums, target + channel);
    }
  }
}

// grad_value is of type Acc, whatever T, and holds zeros at first.
template <typename T, int kVector, int kLanes>
__global__ void __launch_bounds__(kThreads, 3)
    backward_kernel(const CudaProblem problem, const T* __restrict__ grad_out,
                    const T* __restrict__ value,
                    const typename AccOf<T>::Type* __restrict__ locations,
                    const typename AccOf<T>::Type* __restrict__ weights,
                    typename AccOf<T>::Type* __restrict__ grad_value,
                    typename AccOf<T>::Type* __restrict__ grad_locations,
                    typename AccOf<T>::Type* __restrict__ grad_weights) {
  using Acc = typename AccOf<T>::Type;
  const Group group = find_group<kLanes>(problem);
  const int32_t head = group.index % problem.heads * problem.channels;
  const int32_t step = kLanes * kVector;
  const int32_t rounds = (problem.channels + step - 1) / step;
  const bool wants_products = grad_locations != nullptr || grad_weights != nullptr;
  for (int64_t n = blockIdx.y; n < problem.batch; n += gridDim.y) {
    const int64_t frame = n * problem.frame_values + head;
    const int64_t first = n * problem.frame_samples +
                          static_cast<int64_t>(group.index) * problem.samples;
    const T* source = grad_out + n * problem.frame_outputs +
                      static_cast<int64_t>(group.index) * problem.channels;
    Acc grads[kVector];
    load<Acc, kVector>(source + group.lane * kVector, group.lane * kVector < problem.channels,
                       grads);
    for (int32_t base = 0; base < problem.samples; base += kLanes) {
      const Sample<Acc> own =
          make_sample<Acc>(problem, locations + 2 * first, weights + first, base + group.lane);
      Acc own_weight = 0, own_x = 0, own_y = 0;
      for (int32_t owner = 0; owner < kLanes; ++owner) {
        if (base + owner >= problem.samples) break;
        const Sample<Acc> sample = shared_sample<kLanes>(own, owner);
        int32_t offsets[4];
        corner_offsets(problem, sample, offsets);
        const Acc lower = sample.weight * sample.below, upper = sample.weight - lower;
        const Acc shares[4] = {upper - upper * sample.right, upper * sample.right,
                               lower - lower * sample.right, lower * sample.right};
        Acc products[4] = {};
        for (int32_t round = 0; round < rounds; ++round) {
          const int32_t channel = round * step + group.lane * kVector;
          const bool in_head = channel < problem.channels;
          if (rounds > 1) load<Acc, kVector>(source + channel, in_head, grads);
#pragma unroll
          for (int corner = 0; corner < 4; ++corner) {
            const bool wanted = in_head && (sample.mask_and_level >> corner & 1);
            if (wants_products) {
              Acc numbers[kVector];
              load<Acc, kVector>(value + frame + offsets[corner] + channel, wanted, numbers);
              for (int i = 0; i < kVector; ++i) products[corner] += numbers[i] * grads[i];
            }
            if (grad_value != nullptr && wanted && group.is_real) {
              Acc scaled[kVector];
              for (int i = 0; i < kVector; ++i) scaled[i] = shares[corner] * grads[i];
              add<kVector>(grad_value + frame + offsets[corner] + channel, scaled);
            }
          }
        }
        if (!wants_products) continue;
        const Acc up = products[0] + sample.right * (products[1] - products[0]);
        const Acc down = products[2] + sample.right * (products[3] - products[2]);
        const Acc slope = (products[1] - products[0]) +
                          sample.below * ((products[3] - products[2]) - (products[1] - products[0]));
        Acc of_weight = up + sample.below * (down - up), of_x = slope, of_y = down - up;
        for (int32_t distance = kLanes / 2; distance > 0; distance /= 2) {
          of_weight += __shfl_xor_sync(kFullWarp, of_weight, distance, kLanes);
          of_x += __shfl_xor_sync(kFullWarp, of_x, distance, kLanes);
          of_y += __shfl_xor_sync(kFullWarp, of_y, distance, kLanes);
        }
        if (group.lane == owner) own_weight = of_weight, own_x = of_x, own_y = of_y;
      }
      const int32_t k = base + group.lane;
      if (!wants_products || !group.is_real || k >= problem.samples) continue;
      const int32_t level = own.mask_and_level >> 4;
      if (grad_weights != nullptr) grad_weights[first + k] = own_weight;
      if (grad_locations != nullptr) {
        Acc* target = grad_locations + 2 * (first + k);
        target[0] = own.weight * own_x * static_cast<Acc>(problem.width[level]);
        target[1] = own.weight * own_y * static_cast<Acc>(problem.height[level]);
      }
    }
  }
}

}  // namespace vdit
