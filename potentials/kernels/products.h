// Products of moments, P^YZ_nn'l = sum_m A^Y_nlm A^Z_n'lm, symmetrised in n, n'; and the way back to the moments.
#pragma once

#include "centre.h"
#include "layout.h"
#include "simd.h"

namespace outcrop {

template <int N, int L>
struct Products {
  using P = Packing<L>;
  static constexpr int VECTORS = P::VECTORS, FIRST = P::FIRST;

  // sum over the slots of a b, for every l
  static OUTCROP_INLINE void dot(const V* a, const V* b, V& low, V& high) {
    repeat<FIRST>([&](auto v) OUTCROP_LAMBDA { low += a[v] * b[v]; });
    if constexpr (L > 4) repeat<VECTORS - FIRST>([&](auto v) OUTCROP_LAMBDA { high += a[FIRST + v] * b[FIRST + v]; });
  }
  static OUTCROP_INLINE void add(double* f, V low, V high) {
    if constexpr (L == 4) {
      store(f, load(f) + low);
    } else {
      for (int l = 0; l < (L < 4 ? L : 4); ++l) f[l] += low[l];
      if constexpr (L > 4) f[4] += high[0];
    }
  }

  // f += a x a for the moments of one element
  static void add_square(int n_max, const V* a, double* f) {
    for (int n = 0; n < n_max; ++n) {
      for (int m = n; m < n_max; ++m, f += L) {
        V low = splat(0.0), high = splat(0.0);
        dot(a + n * VECTORS, a + m * VECTORS, low, high);
        add(f, low, high);
      }
    }
  }

  // f += factor (a_n b_n' + a_n' b_n)/2
  static void add_mixed(int n_max, const V* a, const V* b, double factor, double* f) {
    for (int n = 0; n < n_max; ++n) {
      for (int m = n; m < n_max; ++m, f += L) {
        V low = splat(0.0), high = splat(0.0);
        dot(a + n * VECTORS, b + m * VECTORS, low, high);
        if (m > n) {
          dot(a + m * VECTORS, b + n * VECTORS, low, high);
          low *= 0.5, high *= 0.5;
        }
        add(f, factor * low, factor * high);
      }
    }
  }

  static constexpr int pair(int n_max, int n, int m) {
    return n <= m ? n * n_max - n * (n - 1) / 2 + m - n : m * n_max - m * (m - 1) / 2 + n - m;
  }

  // back (N, VECTORS) = dE/d(moments of y), normed so that it multiplies the bare harmonics; `slope` is dE/df
  static void pull(const Plan& plan, int n_kinds, int y, int n_max, const V* moments, const double* slope,
                   const P& packing, V* back) {
    for (int n = 0; n < N; ++n) {
      V total[VECTORS] = {};
      if (n < n_max) {
        for (int z = 0; z < n_kinds; ++z) {
          const double* s = slope + plan.products[y * n_kinds + z];
          const V* a = moments + z * N * VECTORS;
          for (int m = 0; m < n_max; ++m, a += VECTORS) {
            const double factor = z == y ? (m == n ? 2.0 : 1.0) : (m == n ? 1.0 : 0.5);
            const double* at = s + pair(n_max, n, m) * L;
            V low = splat(0.0), high = splat(0.0);
            if constexpr (L >= 4) {
              low = factor * load(at);
            } else {
              for (int l = 0; l < L; ++l) low[l] = factor * at[l];
            }
            if constexpr (L > 4) high[0] = factor * at[4];
            repeat<VECTORS>([&](auto v) OUTCROP_LAMBDA { total[v] += (v < FIRST ? low : high) * a[v]; });
          }
        }
      }
      repeat<VECTORS>([&](auto v) OUTCROP_LAMBDA { back[n * VECTORS + v] = total[v] * packing.norm[v]; });
    }
  }
};

}  // namespace outcrop
