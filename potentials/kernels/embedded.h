// The embedded-atom potential under the networks; formulas in embedded.py.
#pragma once

#include <cmath>

#include "interface.h"
#include "neighbours.h"
#include "simd.h"

namespace outcrop {

struct Embedding {
  Buffer<V> slopes;  // (blocks,) drho/dr of each bond

  // Energy of one centre; adds the slopes to the blocks of its neighbours.
  template <class... Rest>
  double embed(const EmbeddedAtoms& it, const Rest&... rest) {
    return it.degree == 4 ? embed_by<4>(it, rest...) : embed_by<3>(it, rest...);
  }

 private:
  template <int DEGREE, class Centre, class Elements>
  double embed_by(const EmbeddedAtoms& it, int n_species, int centre, const Elements& elements, const Group* groups,
               int n_kinds, const Centre& around) {
    V* const slope = slopes.need(std::size_t(around.shell.count / WIDTH) + 1);
    V halves = splat(0.0), density = splat(0.0);
    for (int y = 0; y < n_kinds; ++y) {
      const int pair = centre * n_species + elements[y];
      for (int b = groups[y].first; b < groups[y].last; ++b) {
        V* const rows = around.block(b);
        const int real = groups[y].neighbours - (b - groups[y].first) * WIDTH;
        const V weight{1.0, real > 1 ? 1.0 : 0.0, real > 2 ? 1.0 : 0.0, real > 3 ? 1.0 : 0.0};
        V value, by_r;
        powers<DEGREE>(it.halves[pair], rows[Centre::R], value, by_r);
        halves += weight * value;
        rows[Centre::PUSH] += weight * by_r;
        powers<DEGREE>(it.densities[pair], rows[Centre::R], value, by_r);
        density += weight * value;
        slope[b] = weight * by_r;
      }
    }
    const double* const e = it.embedding.data() + 4 * centre;
    const double rho = sum(density), root = std::sqrt(rho + it.least_density);
    const double first = -0.5 * e[0] / root + e[1] + 2.0 * e[2] * rho;
    for (int y = 0; y < n_kinds; ++y)
      for (int b = groups[y].first; b < groups[y].last; ++b) around.block(b)[Centre::PUSH] += first * slope[b];
    return sum(halves) + e[3] - e[0] * root + e[1] * rho + e[2] * rho * rho;
  }

  template <int DEGREE>
  static OUTCROP_INLINE void powers(const Knotted& of, V r, V& value, V& slope) {
    value = slope = splat(0.0);
    for (std::size_t k = 0; k < of.knots.size(); ++k) {
      V inside = of.knots[k] - r;
      inside = inside < 0.0 ? splat(0.0) : inside;
      V lower = of.factors[k] * inside * inside;
      if constexpr (DEGREE == 4) lower *= inside;
      value += lower * inside;
      slope += lower;
    }
    slope *= -double(DEGREE);
  }
};

}  // namespace outcrop
