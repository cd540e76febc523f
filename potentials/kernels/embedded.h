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
  template <class Centre, class Elements>
  double embed(const EmbeddedAtoms& it, int n_species, int centre, const Elements& elements, const Group* groups,
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
        add_cubes(it.halves[pair], rows[Centre::R], value, by_r);
        halves += weight * value;
        rows[Centre::PUSH] += weight * by_r;
        add_cubes(it.densities[pair], rows[Centre::R], value, by_r);
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

 private:
  static OUTCROP_INLINE void add_cubes(const Cubes& cubes, V r, V& value, V& slope) {
    value = slope = splat(0.0);
    for (std::size_t k = 0; k < cubes.knots.size(); ++k) {
      V inside = cubes.knots[k] - r;
      inside = inside < 0.0 ? splat(0.0) : inside;
      const V square = cubes.factors[k] * inside * inside;
      value += square * inside;
      slope += square;
    }
    slope *= -3.0;
  }
};

}  // namespace outcrop
