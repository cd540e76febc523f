// The angular parts of symmetry functions: which there are, and the powers of 1 +- cos that they are made of.
#pragma once

#include <cmath>
#include <vector>

#include "interface.h"
#include "simd.h"

namespace outcrop {

// The angular functions in the order in which the kernel takes them: one exponent eta after the other.
struct AngularPlan {
  struct Term {
    int function;  // place in the block
    int power;     // place in Powers
  };
  std::vector<double> etas;
  std::vector<int> first;      // (etas + 1,) of the terms of each eta
  std::vector<Term> terms;
  std::vector<double> factor;  // (functions,) 2 2^(1 - zeta)
  int blunt = 0, sharp = 0;    // powers of 1 - cos and of 1 + cos that are needed

  explicit AngularPlan(const SymmetryFunctions& it) : etas(it.etas), first{0} {
    for (int m = 0; m < int(etas.size()); ++m) {
      for (int q = 0; q < int(it.angular.size()); ++q)
        if (it.angular[q].eta == m)
          terms.push_back({q, it.angular[q].doublings + (it.angular[q].sharp ? MOST_DOUBLINGS + 1 : 0)});
      first.push_back(int(terms.size()));
    }
    for (const Angular& a : it.angular) {
      factor.push_back(std::ldexp(4.0, -(1 << a.doublings)));
      int& most = a.sharp ? sharp : blunt;
      most = a.doublings + 1 > most ? a.doublings + 1 : most;
    }
  }
};

// (1 - cos)^(2^d), then (1 + cos)^(2^d), and what is left of their derivatives by cos.
struct Powers {
  V value[2 * (MOST_DOUBLINGS + 1)], slope[2 * (MOST_DOUBLINGS + 1)];

  template <bool WITH_SLOPES>
  OUTCROP_INLINE void raise(V base, double sign, int from, int most) {
    V power = base, below = splat(sign);
    for (int d = 0; d < most; ++d) {
      value[from + d] = power;
      if (WITH_SLOPES) {
        slope[from + d] = below;
        below *= 2.0 * power;
      }
      power *= power;
    }
  }
  template <bool WITH_SLOPES>
  OUTCROP_INLINE void of(V cosine, const AngularPlan& plan) {
    raise<WITH_SLOPES>(1.0 - cosine, -1.0, 0, plan.blunt);
    raise<WITH_SLOPES>(1.0 + cosine, 1.0, MOST_DOUBLINGS + 1, plan.sharp);
  }
};

}  // namespace outcrop
