// The density descriptor around one centre: features, and the way back from their slopes to the bonds.
#pragma once

#include <vector>

#include "centre.h"
#include "layout.h"
#include "products.h"

namespace outcrop {

template <int N, int L>
struct DensityCentre : Centre<N, L> {
  using C = Centre<N, L>;
  using C::Centre;
  static constexpr int MOST = MOST_NEIGHBOURS;
  Buffer<V> moments;  // (n_kinds, N, VECTORS)

  void describe(const Group* of_kind, int n_kinds, const Plan& plan, double* f) {
    const int n_max = this->shape.n_max;
    V* const all = moments.need(n_kinds * C::MOMENTS);
    for (int d = 0; d < plan.length; ++d) f[d] = 0.0;
    for (int y = 0; y < n_kinds; ++y) {
      this->two_body(of_kind[y], f + plan.sums[y]);
      this->add_up(of_kind[y], all + y * C::MOMENTS);
    }
    for (int y = 0; y < n_kinds; ++y) {
      const V* a = all + y * C::MOMENTS;
      Products<N, L>::add_square(n_max, a, f + plan.products[y * n_kinds + y]);
      for (int z = y + 1; z < n_kinds; ++z) {
        const V* b = all + z * C::MOMENTS;
        Products<N, L>::add_mixed(n_max, a, b, 1.0, f + plan.products[y * n_kinds + z]);
      }
    }
  }

  void turn(const Group*, int n_kinds, const Plan& plan, const double* slope) {
    V* const by_moment = back_.need(n_kinds * C::MOMENTS);
    by_sums_.resize(n_kinds);
    for (int y = 0; y < n_kinds; ++y) {
      Products<N, L>::pull(plan, n_kinds, y, this->shape.n_max, moments.get(), slope, this->packing,
                           by_moment + y * C::MOMENTS);
      by_sums_[y] = slope + plan.sums[y];
    }
  }

  OUTCROP_INLINE void pull(int y, int which, V& fx, V& fy, V& fz) const {
    C::pull(which, back_.get() + y * C::MOMENTS, by_sums_[y], fx, fy, fz);
  }

 private:
  Buffer<V> back_;  // (n_kinds, N, VECTORS) dE/d(moments)
  std::vector<const double*> by_sums_;  // (n_kinds,) dE/d(two-body sums)
};

}  // namespace outcrop
