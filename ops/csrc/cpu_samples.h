// The samples of a query side by side: where they lie, how much their four corners weigh, and what
// becomes of their gradients. For the instruction set of the including file.

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

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline uint32_t bits_below(int64_t count) { return (uint32_t(1) << count) - 1; }

// Samples are prepared side by side in blocks; the last one is filled up with samples outside.
constexpr int kBlock = 16;

// The levels that the samples of a block lie on.
template <typename Acc>
struct BlockLevels {
  Acc width[kBlock], height[kBlock];  // pixels
  int32_t columns[kBlock], rows[kBlock];
  int64_t start[kBlock];  // index along S of the first pixel
};

// The samples of a block. A corner beyond the border stands at the pixel beside it, and its mask
// lets nothing through.
template <typename Acc>
struct Block {
  // Upper left, upper right, lower left, lower right.
  Acc corners[4][kBlock];       // attention times bilinear
  int32_t is_pixel[4][kBlock];  // all bits or none
  int64_t pixel[kBlock];        // index along S of the upper left corner
  int64_t right_step[kBlock], lower_step[kBlock];  // pixels from there to the others
  uint32_t inside;                                 // a bit a sample
  Acc right[kBlock], below[kBlock];                // shares of the right and of the lower corners
  Acc weight[kBlock];                              // attention
  Acc products[kBlock][4];                         // of the corners with a gradient
};

// Prepares the samples of a block. The comparisons are false for NaN, so that NaN and infinite
// locations lie outside.
template <typename Acc>
inline void prepare(const BlockLevels<Acc>& levels, const Acc* locations, const Acc* weights,
                    int64_t count, Block<Acc>& block) {
  Acc x[kBlock], y[kBlock], weight[kBlock];
  if (count >= kBlock) {
    for (int k = 0; k < kBlock; ++k) x[k] = locations[2 * k], y[k] = locations[2 * k + 1];
    for (int k = 0; k < kBlock; ++k) weight[k] = weights[k];
  } else {
    for (int k = 0; k < kBlock; ++k) x[k] = y[k] = Acc(-2), weight[k] = Acc(0);
    for (int k = 0; k < count; ++k) {
      x[k] = locations[2 * k], y[k] = locations[2 * k + 1], weight[k] = weights[k];
    }
  }
  // Short loops over local arrays, without conditions that share a branch, are what compilers
  // turn into vector instructions.
  int32_t inside[kBlock], column[kBlock], row[kBlock], step[kBlock];
#pragma omp simd
  for (int k = 0; k < kBlock; ++k) {
    x[k] = x[k] * levels.width[k] - Acc(0.5);
    y[k] = y[k] * levels.height[k] - Acc(0.5);
  }
#pragma omp simd
  for (int k = 0; k < kBlock; ++k) {
    const int32_t after_left = x[k] > Acc(-1) ? -1 : 0, below_top = y[k] > Acc(-1) ? -1 : 0;
    const int32_t before_right = x[k] < levels.width[k] ? -1 : 0;
    const int32_t above_bottom = y[k] < levels.height[k] ? -1 : 0;
    inside[k] = after_left & below_top & before_right & above_bottom;
  }
#pragma omp simd
  for (int k = 0; k < kBlock; ++k) {
    const Acc safe_x = inside[k] ? x[k] : Acc(0), safe_y = inside[k] ? y[k] : Acc(0);
    column[k] = static_cast<int32_t>(safe_x + Acc(1)) - 1;  // floor, as x > -1
    row[k] = static_cast<int32_t>(safe_y + Acc(1)) - 1;
    block.right[k] = safe_x - static_cast<Acc>(column[k]);
    block.below[k] = safe_y - static_cast<Acc>(row[k]);
    block.weight[k] = weight[k];
  }
#pragma omp simd
  for (int k = 0; k < kBlock; ++k) {
    const Acc right = block.right[k], below = block.below[k];
    const Acc upper = weight[k] * (Acc(1) - below), lower = weight[k] * below;
    block.corners[0][k] = upper * (Acc(1) - right);
    block.corners[1][k] = upper * right;
    block.corners[2][k] = lower * (Acc(1) - right);
    block.corners[3][k] = lower * right;
  }
  memset(block.products, 0, sizeof(block.products));
  int32_t bits = 0;
  for (int k = 0; k < kBlock; ++k) bits |= inside[k] & (1 << k);
  block.inside = static_cast<uint32_t>(bits);
#pragma omp simd
  for (int k = 0; k < kBlock; ++k) {
    const int32_t left = column[k] >= 0 ? -1 : 0, upper = row[k] >= 0 ? -1 : 0;
    const int32_t right = column[k] + 1 < levels.columns[k] ? -1 : 0;
    const int32_t lower = row[k] + 1 < levels.rows[k] ? -1 : 0;
    block.is_pixel[0][k] = upper & left, block.is_pixel[1][k] = upper & right;
    block.is_pixel[2][k] = lower & left, block.is_pixel[3][k] = lower & right;
    column[k] &= left;
    row[k] &= upper;
    step[k] = levels.columns[k] & upper & lower;
    inside[k] = 1 & left & right;
  }
#pragma omp simd
  for (int k = 0; k < kBlock; ++k) {
    const int64_t columns = levels.columns[k];
    block.pixel[k] = levels.start[k] + row[k] * columns + column[k];
    block.right_step[k] = inside[k];
    block.lower_step[k] = step[k];
  }
}

// Turns products into the gradients of locations and weights of `count` samples.
template <typename Acc>
inline void finish(const BlockLevels<Acc>& levels, const Block<Acc>& block, int64_t count,
                   Acc* grad_locations, Acc* grad_weights) {
  Acc shares[kBlock], slopes[2 * kBlock];
  for (int k = 0; k < kBlock; ++k) {
    const Acc* product = block.products[k];
    const Acc right = block.right[k], below = block.below[k];
    const Acc upper = product[0] + right * (product[1] - product[0]);
    const Acc lower = product[2] + right * (product[3] - product[2]);
    shares[k] = upper + below * (lower - upper);
    const Acc slope =
        (Acc(1) - below) * (product[1] - product[0]) + below * (product[3] - product[2]);
    slopes[2 * k] = block.weight[k] * slope * levels.width[k];
    slopes[2 * k + 1] = block.weight[k] * (lower - upper) * levels.height[k];
  }
  if (grad_weights != nullptr) memcpy(grad_weights, shares, count * sizeof(Acc));
  if (grad_locations != nullptr) memcpy(grad_locations, slopes, 2 * count * sizeof(Acc));
}

// The samples of a query, for as many of its heads together as fit into a block. Of each head those
// of the levels first..last count.
template <typename Acc>
class Samples {
 public:
  const int64_t per_head;  // samples
  const int64_t heads;     // together

  Samples(const Problem& problem, int64_t first_level, int64_t last_level)
      : per_head((last_level - first_level) * problem.points),
        heads(per_head == problem.num_levels * problem.points && per_head < kBlock
                  ? kBlock / (per_head > 0 ? per_head : 1)
                  : 1),
        size_((heads * per_head + kBlock - 1) / kBlock),
        levels_(size_),
        blocks_(size_) {
    for (int64_t k = 0; k < size_ * kBlock; ++k) {
      const int64_t l = per_head > 0 ? k % per_head / problem.points : 0;
      const Level& level = problem.levels[first_level + l];
      BlockLevels<Acc>& levels = levels_.get()[k / kBlock];
      const int64_t lane = k % kBlock;
      levels.width[lane] = static_cast<Acc>(level.width);
      levels.height[lane] = static_cast<Acc>(level.height);
      levels.columns[lane] = level.width, levels.rows[lane] = level.height;
      levels.start[lane] = level.start;
    }
  }

  // Prepares `count` samples, one after another in memory.
  void prepare_all(const Acc* locations, const Acc* weights, int64_t count) const {
    for (int64_t k = 0; k < count; k += kBlock) {
      const int64_t i = k / kBlock;
      prepare<Acc>(levels_.get()[i], locations + 2 * k, weights + k, count - k, blocks_.get()[i]);
    }
  }

  // Turns products into the gradients of locations and weights of the first `count`.
  void finish_all(Acc* grad_locations, Acc* grad_weights, int64_t count) const {
    for (int64_t k = 0; k < count; k += kBlock) {
      const int64_t i = k / kBlock;
      finish<Acc>(levels_.get()[i], blocks_.get()[i], count - k < kBlock ? count - k : kBlock,
                  grad_locations != nullptr ? grad_locations + 2 * k : nullptr,
                  grad_weights != nullptr ? grad_weights + k : nullptr);
    }
  }

  // Calls visit(block, lane) for the samples of a head that are not outside.
  template <typename Visit>
  void each(int64_t head, Visit&& visit) const {
    const int64_t first = head * per_head, last = first + per_head;
    for (int64_t k = first; k < last; k += kBlock - k % kBlock) {
      Block<Acc>& block = blocks_.get()[k / kBlock];
      const int64_t lane = k % kBlock, end = last - k + lane;
      const uint32_t wanted = bits_below(smaller(end, kBlock)) & ~bits_below(lane);
      for (uint32_t left = block.inside & wanted; left != 0; left &= left - 1) {
        visit(block, __builtin_ctz(left));
      }
    }
  }

 private:
  const int64_t size_;  // blocks
  Array<BlockLevels<Acc>> levels_;
  Array<Block<Acc>> blocks_;
};
