// Real harmonics of unit vectors as polynomials: Q_lm(z) Re (x + iy)^m and Q_lm(z) Im (x + iy)^m.
//
// Q_lm is d^m P_l/dz^m divided by its leading coefficient, so that Q_ll = 1, Q_l+1,m = z Q_lm - beta Q_l-1,m and
// dQ_lm/dz = (l - m) Q_l,m+1. The norm, which makes sum_m Y_lm Y_lm = 1, is applied to the moments, not per neighbour.
#pragma once

#include <cmath>

#include "simd.h"

namespace outcrop {

// A slot is one function of the azimuth: 0 for m = 0; 2m - 1 for Re, 2m for Im of (x + iy)^m.
// A row is one harmonic: slots ascending, in a slot l ascending from max(1, m).
template <int L>
struct Harmonics {
  static constexpr int SLOTS = 2 * L + 1;
  static constexpr int ROWS = (L + 1) * (L + 1) - 1;

  static constexpr int lowest(int slot) { return slot < 2 ? 1 : (slot + 1) / 2; }
  static constexpr int row(int slot, int l) {
    int before = 0;
    for (int s = 0; s < slot; ++s) before += L + 1 - lowest(s);
    return before + l - lowest(slot);
  }

  V c[L + 1], s[L + 1];      // Re and Im of (x + iy)^m
  V q[L + 1][L + 1];         // Q_lm, m <= l

  OUTCROP_INLINE Harmonics(V x, V y, V z) {
    c[0] = splat(1.0);
    s[0] = splat(0.0);
    c[1] = x;
    s[1] = y;
    repeat<L - 1>([&](auto k) OUTCROP_LAMBDA {
      constexpr int m = k + 1;
      c[m + 1] = x * c[m] - y * s[m];
      s[m + 1] = x * s[m] + y * c[m];
    });
    repeat<L + 1>([&](auto mm) OUTCROP_LAMBDA {
      constexpr int m = mm;
      q[m][m] = splat(1.0);
      if constexpr (m < L) q[m + 1][m] = z;
      repeat<(L - m > 1 ? L - m - 1 : 0)>([&](auto k) OUTCROP_LAMBDA {
        constexpr int l = m + 1 + k;
        q[l + 1][m] = z * q[l][m] - (double(l * l - m * m) / (4 * l * l - 1)) * q[l - 1][m];
      });
    });
  }

  // f(slot, l) for every harmonic, in the order of the rows; slot and l are constants.
  template <class F>
  static OUTCROP_INLINE void each(F&& f) {
    repeat<SLOTS>([&](auto slot) OUTCROP_LAMBDA {
      repeat<L + 1 - lowest(slot)>([&](auto k) OUTCROP_LAMBDA {
        f(slot, std::integral_constant<int, lowest(decltype(slot)::value) + decltype(k)::value>{});
      });
    });
  }

  // (x + iy)^m as slot `S` has it
  template <int S>
  OUTCROP_INLINE V azimuth() const {
    return S % 2 ? c[(S + 1) / 2] : (S == 0 ? c[0] : s[S / 2]);
  }
  // Q_lm and its derivative by z
  template <int S, int l>
  OUTCROP_INLINE V polynomial() const {
    return q[l][(S + 1) / 2];
  }
  template <int S, int l>
  OUTCROP_INLINE V slope() const {
    constexpr int m = (S + 1) / 2;
    if constexpr (l == m) {
      return splat(0.0);
    } else {
      return double(l - m) * q[l][m + 1];
    }
  }

  // sqrt((2 - [m = 0]) (l - m)!/(l + m)!) (2l)!/(2^l l! (l - m)!)
  static double norm(int slot, int l) {
    const int m = (slot + 1) / 2;
    auto factorial = [](int n) { return std::tgamma(n + 1.0); };
    const double leading = factorial(2 * l) / (std::pow(2.0, l) * factorial(l) * factorial(l - m));
    return leading * std::sqrt((m ? 2.0 : 1.0) * factorial(l - m) / factorial(l + m));
  }
};

// Moments of one radial function: vectors of four l for every slot; l = 5 has vectors of its own.
template <int L>
struct Packing {
  static constexpr int FIRST = 2 * (L < 4 ? L : 4) + 1;  // slots with some l <= 4
  static constexpr int VECTORS = FIRST + (L > 4 ? 2 * L + 1 : 0);

  int row[VECTORS][WIDTH];  // of Harmonics; ROWS where a slot lacks that l
  V norm[VECTORS];

  // made once: the norms take longer than an atom
  static const Packing& only() {
    static const Packing packing;
    return packing;
  }
  static constexpr int place(int slot, int l) {
    return l <= 4 ? slot * WIDTH + l - 1 : (FIRST + slot) * WIDTH + l - 5;
  }

 private:
  Packing() {
    for (int v = 0; v < VECTORS; ++v) {
      for (int k = 0; k < WIDTH; ++k) {
        const int slot = v < FIRST ? v : v - FIRST, l = (v < FIRST ? 1 : 5) + k;
        const bool there = l <= L && l >= Harmonics<L>::lowest(slot);
        row[v][k] = there ? Harmonics<L>::row(slot, l) : Harmonics<L>::ROWS;
        norm[v][k] = there ? Harmonics<L>::norm(slot, l) : 0.0;
      }
    }
  }
};

}  // namespace outcrop
