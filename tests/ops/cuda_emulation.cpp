// Runs the CUDA kernels on the CPU, one warp at a time, so that their indices and shuffles can be
// tested where there is no device. The 32 threads of a warp are fibers that meet at every shuffle;
// a warp that comes apart there, and a read outside of the arrays, ends the run with an error.

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace {

constexpr int kWarp = 32;
constexpr size_t kStack = 64 * 1024;

struct Index {
  unsigned x, y;
};
Index threadIdx, blockIdx, gridDim;

struct uint4 {
  uint32_t x, y, z, w;
};
uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

enum Failure { kNone, kDivergence, kOutOfBounds, kMisaligned };
Failure failure = kNone;

struct Range {
  const char *begin, *end;
};
std::vector<Range> readable;

template <typename T>
T __ldg(const T* source) {
  const char* address = reinterpret_cast<const char*>(source);
  if (reinterpret_cast<uintptr_t>(source) % sizeof(T) != 0) failure = kMisaligned;
  for (const Range& range : readable) {
    if (address >= range.begin && address + sizeof(T) <= range.end) {
      T number;
      std::memcpy(&number, source, sizeof(T));
      return number;
    }
  }
  failure = kOutOfBounds;
  return T{};
}

float __uint_as_float(uint32_t bits) {
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}
uint32_t __float_as_uint(float number) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits;
}
_Float16 __ushort_as_half(uint16_t bits) {
  _Float16 number;
  std::memcpy(&number, &bits, sizeof(number));
  return number;
}
uint16_t __half_as_ushort(_Float16 number) {
  uint16_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits;
}
float __half2float(_Float16 number) { return number; }
_Float16 __float2half_rn(float number) { return static_cast<_Float16>(number); }

template <typename T>
void atomicAdd(T* target, T number) {
  *target += number;
}

// ---- a warp of fibers --------------------------------------------------------------------------

ucontext_t scheduler, fibers[kWarp];
std::vector<char> stacks(kWarp * kStack);
bool finished[kWarp];
int current;
int meetings[kWarp];
alignas(8) char slots[2][kWarp][8];
void (*work)(void*);
void* arguments;

void enter() {
  work(arguments);
  finished[current] = true;
  swapcontext(&fibers[current], &scheduler);
}

void run_warp(unsigned first_thread) {
  for (int lane = 0; lane < kWarp; ++lane) {
    finished[lane] = false;
    meetings[lane] = 0;
    getcontext(&fibers[lane]);
    fibers[lane].uc_stack.ss_sp = stacks.data() + lane * kStack;
    fibers[lane].uc_stack.ss_size = kStack;
    fibers[lane].uc_link = &scheduler;
    makecontext(&fibers[lane], enter, 0);
  }
  for (;;) {
    int alive = 0;
    for (current = 0; current < kWarp; ++current) {
      if (finished[current]) continue;
      threadIdx = {first_thread + current, 0};
      swapcontext(&scheduler, &fibers[current]);
      alive += !finished[current];
    }
    if (alive == 0) return;
    if (alive != kWarp) {
      failure = kDivergence;
      return;
    }
  }
}

template <typename T>
T exchange(T number, int source) {
  const int lane = current;
  const int parity = meetings[lane]++ % 2;
  std::memcpy(slots[parity][lane], &number, sizeof(T));
  swapcontext(&fibers[lane], &scheduler);
  std::memcpy(&number, slots[parity][source], sizeof(T));
  return number;
}

template <typename T>
T __shfl_sync(unsigned, T number, int source, int width) {
  return exchange(number, current / width * width + source % width);
}
template <typename T>
T __shfl_xor_sync(unsigned, T number, int mask, int width) {
  (void)width;
  return exchange(number, current ^ mask);
}

}  // namespace

#include "cuda_kernels.cuh"

namespace {

using namespace vdit;

template <typename Call>
int run(const CudaPlan& plan, Call call) {
  failure = kNone;
  gridDim = {plan.blocks_x, plan.blocks_y};
  work = [](void* context) { (*static_cast<Call*>(context))(); };
  arguments = &call;
  for (unsigned y = 0; y < plan.blocks_y; ++y) {
    for (unsigned x = 0; x < plan.blocks_x; ++x) {
      blockIdx = {x, y};
      for (unsigned thread = 0; thread < kThreads; thread += kWarp) {
        run_warp(thread);
        if (failure != kNone) return failure;
      }
    }
  }
  return kNone;
}

template <typename T, int kVector, int kLanes>
int run_kernel(const CudaPlan& plan, const Forward* forward, const Backward* backward) {
  using Acc = typename AccOf<T>::Type;
  if (forward != nullptr) {
    return run(plan, [&] {
      forward_kernel<T, kVector, kLanes>(
          plan.problem, static_cast<const T*>(forward->value),
          static_cast<const Acc*>(forward->locations), static_cast<const Acc*>(forward->weights),
          static_cast<T*>(forward->out));
    });
  }
  return run(plan, [&] {
    backward_kernel<T, kVector, kLanes>(
        plan.problem, static_cast<const T*>(backward->grad_out),
        static_cast<const T*>(backward->value), static_cast<const Acc*>(backward->locations),
        static_cast<const Acc*>(backward->weights), static_cast<Acc*>(backward->grad_value),
        static_cast<Acc*>(backward->grad_locations), static_cast<Acc*>(backward->grad_weights));
  });
}

template <typename T>
int run_lanes(const CudaPlan& plan, const Forward* forward, const Backward* backward) {
  constexpr int kVector = 16 / sizeof(T);
  if (!plan.is_vector) return run_kernel<T, 1, 32>(plan, forward, backward);
  if (plan.lanes == 4) return run_kernel<T, kVector, 4>(plan, forward, backward);
  if (plan.lanes == 8) return run_kernel<T, kVector, 8>(plan, forward, backward);
  return run_kernel<T, kVector, 16>(plan, forward, backward);
}

Problem make_problem(const int64_t* sizes, const int64_t* shapes, std::vector<Level>& levels) {
  Problem problem{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], nullptr};
  int64_t start = 0;
  for (int64_t l = 0; l < problem.num_levels; ++l) {
    levels.push_back({static_cast<int32_t>(shapes[2 * l]), static_cast<int32_t>(shapes[2 * l + 1]),
                      start});
    start += shapes[2 * l] * shapes[2 * l + 1];
  }
  problem.levels = levels.data();
  return problem;
}

}  // namespace

// sizes: N, S, M, D, Q, L, P; shapes: (h, w) of each level. Returns blocks x, blocks y, lanes, whether
// 16 bytes are read at once; or the reason why the call cannot be planned.
extern "C" const char* plan(const int64_t* sizes, const int64_t* shapes, int dtype, int is_aligned,
                            int64_t* answer) {
  std::vector<Level> levels;
  const Problem problem = make_problem(sizes, shapes, levels);
  const CudaPlan plan = make_cuda_plan(problem, static_cast<Dtype>(dtype), is_aligned != 0);
  answer[0] = plan.blocks_x, answer[1] = plan.blocks_y;
  answer[2] = plan.lanes, answer[3] = plan.is_vector;
  return plan.error;
}

// arrays: value, locations, weights, out, or grad_out, value, locations, weights and the gradients;
// bytes: of each. Returns 0, or a Failure.
extern "C" int run_pass(const int64_t* sizes, const int64_t* shapes, int dtype, int is_aligned,
                        int is_forward, void* const* arrays, const int64_t* bytes) {
  std::vector<Level> levels;
  const Problem problem = make_problem(sizes, shapes, levels);
  const CudaPlan plan = make_cuda_plan(problem, static_cast<Dtype>(dtype), is_aligned != 0);
  const Forward forward{arrays[0], arrays[1], arrays[2], arrays[3]};
  Backward backward{};
  readable.clear();
  const int count = is_forward ? 4 : 7;
  for (int i = 0; i < count; ++i) {
    const char* begin = static_cast<const char*>(arrays[i]);
    if (begin != nullptr) readable.push_back({begin, begin + bytes[i]});
  }
  if (!is_forward) {
    backward = {arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], arrays[5], arrays[6]};
  }
  const Forward* first = is_forward ? &forward : nullptr;
  switch (static_cast<Dtype>(dtype)) {
    case kFloat:
      return run_lanes<float>(plan, first, &backward);
    case kDouble:
      return run_lanes<double>(plan, first, &backward);
    case kBFloat16:
      return run_lanes<BFloat16>(plan, first, &backward);
    default:
      return run_lanes<Half>(plan, first, &backward);
  }
}
