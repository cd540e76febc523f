// Four doubles at a time, by the vector extensions of GCC and Clang: one fixed order of operations on every compiler.
#pragma once

#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#define OUTCROP_INLINE __attribute__((always_inline)) inline
#define OUTCROP_LAMBDA __attribute__((always_inline))

namespace outcrop {

typedef double V __attribute__((vector_size(32)));
typedef double LooseV __attribute__((vector_size(32), aligned(8), may_alias));
typedef std::int64_t I __attribute__((vector_size(32)));

constexpr int WIDTH = 4;

OUTCROP_INLINE V load(const double* p) { return *reinterpret_cast<const LooseV*>(p); }
OUTCROP_INLINE void store(double* p, V v) { *reinterpret_cast<LooseV*>(p) = v; }
OUTCROP_INLINE V splat(double x) { return V{x, x, x, x}; }

// f(integral_constant) for 0..N-1: the loop variable is a constant in the body.
template <class F, int... K>
OUTCROP_INLINE void repeat(F&& f, std::integer_sequence<int, K...>) {
  (f(std::integral_constant<int, K>{}), ...);
}
template <int N, class F>
OUTCROP_INLINE void repeat(F&& f) {
  repeat(f, std::make_integer_sequence<int, N>{});
}

// {sum a, sum b, sum c, sum d}
OUTCROP_INLINE V sums(V a, V b, V c, V d) {
#if defined(__clang__) || __GNUC__ >= 12
  V s = __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
  V t = __builtin_shufflevector(c, d, 0, 4, 2, 6) + __builtin_shufflevector(c, d, 1, 5, 3, 7);
  return __builtin_shufflevector(s, t, 0, 1, 4, 5) + __builtin_shufflevector(s, t, 2, 3, 6, 7);
#else
  V s = __builtin_shuffle(a, b, I{0, 4, 2, 6}) + __builtin_shuffle(a, b, I{1, 5, 3, 7});
  V t = __builtin_shuffle(c, d, I{0, 4, 2, 6}) + __builtin_shuffle(c, d, I{1, 5, 3, 7});
  return __builtin_shuffle(s, t, I{0, 1, 4, 5}) + __builtin_shuffle(s, t, I{2, 3, 6, 7});
#endif
}
OUTCROP_INLINE double sum(V a) { return (a[0] + a[1]) + (a[2] + a[3]); }

OUTCROP_INLINE V square_root(V x) {
#if defined(__AVX__)
  return (V)_mm256_sqrt_pd((__m256d)x);
#else
  return V{__builtin_sqrt(x[0]), __builtin_sqrt(x[1]), __builtin_sqrt(x[2]), __builtin_sqrt(x[3])};
#endif
}

// sin and cos of |x| <= pi/4 (Cephes polynomials, 1 ulp)
OUTCROP_INLINE void sine_cosine(V x, V& sine, V& cosine) {
  const V z = x * x;
  V s = splat(1.58962301576546568060e-10);
  s = s * z - 2.50507477628578072866e-8;
  s = s * z + 2.75573136213857245213e-6;
  s = s * z - 1.98412698295895385996e-4;
  s = s * z + 8.33333333332211858878e-3;
  s = s * z - 1.66666666666666307295e-1;
  V c = splat(-1.13585365213876817300e-11);
  c = c * z + 2.08757008419747316778e-9;
  c = c * z - 2.75573141792967388112e-7;
  c = c * z + 2.48015872888517045348e-5;
  c = c * z - 1.38888888888730564116e-3;
  c = c * z + 4.16666666666665929218e-2;
  sine = x + x * z * s;
  cosine = 1.0 - 0.5 * z + z * z * c;
}

// exp to 1 ulp or so for x <= 700; less than LEAST counts as LEAST; NaN stays NaN
template <int LEAST>
OUTCROP_INLINE V exponential(V x) {
  x = x < double(LEAST) ? splat(LEAST) : x;
  // nearest multiple of ln 2: adding 1.5 * 2^52 leaves the integer in the low bits
  const double shifter = 6755399441055744.0;
  const V raised = x * 1.4426950408889634 + shifter;
  const V n = raised - shifter;
  const V r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  V p = splat(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const I power = ((I)raised << 52) + (I)splat(1.0);
  return p * (V)power;
}

// tanh to 2e-16 absolute: (1 - e)/(1 + e), e = exp(-2|x|); NaN stays NaN
OUTCROP_INLINE V hyperbolic_tangent(V x) {
  const V e = exponential<-80>(x < 0.0 ? 2.0 * x : -2.0 * x);
  const V t = (1.0 - e) / (1.0 + e);
  return x < 0.0 ? -t : t;
}

// The four rows a, b, c, d as columns.
OUTCROP_INLINE void transpose(V& a, V& b, V& c, V& d) {
#if defined(__clang__) || __GNUC__ >= 12
  const V s = __builtin_shufflevector(a, b, 0, 4, 2, 6), t = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  const V u = __builtin_shufflevector(c, d, 0, 4, 2, 6), v = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  a = __builtin_shufflevector(s, u, 0, 1, 4, 5), b = __builtin_shufflevector(t, v, 0, 1, 4, 5);
  c = __builtin_shufflevector(s, u, 2, 3, 6, 7), d = __builtin_shufflevector(t, v, 2, 3, 6, 7);
#else
  const V s = __builtin_shuffle(a, b, I{0, 4, 2, 6}), t = __builtin_shuffle(a, b, I{1, 5, 3, 7});
  const V u = __builtin_shuffle(c, d, I{0, 4, 2, 6}), v = __builtin_shuffle(c, d, I{1, 5, 3, 7});
  a = __builtin_shuffle(s, u, I{0, 1, 4, 5}), b = __builtin_shuffle(t, v, I{0, 1, 4, 5});
  c = __builtin_shuffle(s, u, I{2, 3, 6, 7}), d = __builtin_shuffle(t, v, I{2, 3, 6, 7});
#endif
}

// Aligned memory that only grows.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(); }
  // at least `n` elements; the contents are lost when it grows
  T* need(std::size_t n) {
    if (n > size_) {
      release();
      data_ = static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64)));
      size_ = n;
    }
    return data_;
  }
  T* get() const { return data_; }

 private:
  void release() {
    if (data_) ::operator delete(data_, std::align_val_t(64));
    data_ = nullptr;
    size_ = 0;
  }
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace outcrop
