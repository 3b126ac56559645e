// Several numbers at once: loads and sums for the lane count and the instruction set of the
// including file. `T` is what memory holds, `Acc` (float or double) what is computed with.

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

inline uint32_t bits_of(float number) {
  uint32_t bits;
  __builtin_memcpy(&bits, &number, sizeof(bits));
  return bits;
}

inline float float_of(uint32_t bits) {
  float number;
  __builtin_memcpy(&number, &bits, sizeof(number));
  return number;
}

inline float widen(float number) { return number; }
inline double widen(double number) { return number; }
inline float widen(BFloat16 number) { return float_of(uint32_t(number.bits) << 16); }

// Scales the bits by 2^112, which moves subnormal numbers to their place and leaves infinity and
// NaN below theirs.
inline float widen(Half number) {
  const uint32_t magnitude = uint32_t(number.bits & 0x7fff) << 13;
  const float scaled = float_of(magnitude) * float_of(0x77800000);
  const uint32_t special = magnitude >= 0x0f800000 ? 0x7f800000 : 0;
  return float_of(bits_of(scaled) | special | uint32_t(number.bits & 0x8000) << 16);
}

inline void narrow(float number, float* target) { *target = number; }
inline void narrow(double number, double* target) { *target = number; }

// To the nearest, ties to even.
inline void narrow(float number, BFloat16* target) {
  const uint32_t bits = bits_of(number);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  target->bits = static_cast<uint16_t>(number == number ? rounded : 0x7fc0);
}

// To the nearest, ties to even: adding a number whose last bit weighs as much as the last bit that
// is kept lets the processor round.
inline void narrow(float number, Half* target) {
  const uint32_t sign = bits_of(number) >> 16 & 0x8000;
  const uint32_t bits = bits_of(number) & 0x7fffffff;
  uint32_t half = 0;
  if (bits > 0x7f800000) {
    half = 0x7e00;
  } else if (bits >= 0x477ff000) {  // 65520 and more
    half = 0x7c00;
  } else if (bits < 0x38800000) {  // below 2^-14: subnormal
    half = bits_of(float_of(bits) + 0.5f) - 0x3f000000;
  } else {
    half = (bits - 0x38000000 + 0x0fff + ((bits >> 13) & 1)) >> 13;
  }
  target->bits = static_cast<uint16_t>(half | sign);
}

template <typename Acc, int W>
struct LanesOf {
#if defined(__GNUC__)
  typedef Acc Type __attribute__((vector_size(sizeof(Acc) * W)));
#endif
};
template <typename Acc>
struct LanesOf<Acc, 1> {
  typedef Acc Type;
};
template <typename Acc, int W>
using Lanes = typename LanesOf<Acc, W>::Type;

template <typename Acc, int W, typename T>
inline Lanes<Acc, W> load(const T* source) {
  Lanes<Acc, W> lanes;
  if constexpr (W == 1) {
    lanes = widen(*source);
  } else if constexpr (sizeof(T) == sizeof(Acc)) {
    __builtin_memcpy(&lanes, source, sizeof(lanes));
  } else {
    for (int i = 0; i < W; ++i) lanes[i] = widen(source[i]);
  }
  return lanes;
}

#if defined(__GNUC__) && VDIT_LANES > 4
template <>
inline Lanes<float, VDIT_LANES> load<float, VDIT_LANES, BFloat16>(const BFloat16* source) {
  typedef uint16_t Short __attribute__((vector_size(2 * VDIT_LANES)));
  typedef uint32_t Wide __attribute__((vector_size(4 * VDIT_LANES)));
  Short bits;
  __builtin_memcpy(&bits, source, sizeof(bits));
  const Wide wide = __builtin_convertvector(bits, Wide) << 16;
  Lanes<float, VDIT_LANES> lanes;
  __builtin_memcpy(&lanes, &wide, sizeof(lanes));
  return lanes;
}

template <>
inline Lanes<float, VDIT_LANES> load<float, VDIT_LANES, Half>(const Half* source) {
#if VDIT_LANES == 16
  return _mm512_maskz_cvtph_ps(
      0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
#else
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
#endif
}
#endif

// The lanes where the mask is all bits, zero where it is none, whatever the lanes hold.
template <typename Acc, int W>
inline Lanes<Acc, W> keep(Lanes<Acc, W> lanes, int32_t mask) {
  if constexpr (W == 1) {
    return mask ? lanes : Acc(0);
  } else {
    typedef int32_t Bits __attribute__((vector_size(sizeof(lanes))));
    Bits bits;
    __builtin_memcpy(&bits, &lanes, sizeof(bits));
    bits &= mask;
    __builtin_memcpy(&lanes, &bits, sizeof(bits));
    return lanes;
  }
}

template <typename Acc, int W, typename T>
inline void store(Lanes<Acc, W> lanes, T* target) {
  if constexpr (W == 1) {
    narrow(lanes, target);
  } else if constexpr (sizeof(T) == sizeof(Acc)) {
    __builtin_memcpy(target, &lanes, sizeof(lanes));
  } else {
    for (int i = 0; i < W; ++i) narrow(lanes[i], target + i);
  }
}

// Adds the lanes of each of four to the four numbers at sums.
template <typename Acc, int W>
inline void add_totals(Lanes<Acc, W> a, Lanes<Acc, W> b, Lanes<Acc, W> c, Lanes<Acc, W> d,
                       Acc* sums) {
  if constexpr (W == 1) {
    sums[0] += a, sums[1] += b, sums[2] += c, sums[3] += d;
  } else if constexpr (W == 2) {
    sums[0] += a[0] + a[1], sums[1] += b[0] + b[1], sums[2] += c[0] + c[1], sums[3] += d[0] + d[1];
#if defined(__clang__) || __GNUC__ >= 12
  } else if constexpr (W == 4) {
    const Lanes<Acc, 4> ab =
        __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Lanes<Acc, 4> cd =
        __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    Lanes<Acc, 4> totals;
    __builtin_memcpy(&totals, sums, sizeof(totals));
    totals += __builtin_shufflevector(ab, cd, 0, 1, 4, 5) +
              __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    __builtin_memcpy(sums, &totals, sizeof(totals));
#endif
  } else {
    Lanes<Acc, W / 2> halves[8];
    __builtin_memcpy(&halves[0], &a, sizeof(a));
    __builtin_memcpy(&halves[2], &b, sizeof(b));
    __builtin_memcpy(&halves[4], &c, sizeof(c));
    __builtin_memcpy(&halves[6], &d, sizeof(d));
    add_totals<Acc, W / 2>(halves[0] + halves[1], halves[2] + halves[3], halves[4] + halves[5],
                           halves[6] + halves[7], sums);
  }
}
