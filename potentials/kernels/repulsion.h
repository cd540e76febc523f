// Screened nuclear repulsion of close pairs; formula and constants in repulsion.py.
#pragma once

#include <cmath>

#include "centre.h"
#include "density.h"

namespace outcrop {

// Half of the energy of the pairs between a centre and one group of its neighbours; adds the slopes to the blocks.
template <int N, int L>
double repel(const Repulsion& it, int centre, int other, const Group& group, const Centre<N, L>& around) {
  const double reach = it.radii[centre] + it.radii[other];
  const double inner = it.inner * reach, outer = it.outer * reach;
  double energy = 0.0;
  for (int b = group.first; b < group.last; ++b) {
    V* const rows = around.block(b);
    const V r = rows[Centre<N, L>::R];
    const int real = group.neighbours - (b - group.first) * WIDTH;
    for (int k = 0; k < WIDTH && k < real; ++k) {
      if (!(r[k] < outer)) continue;
      const double zi = it.charges[centre], zj = it.charges[other];
      const double rate = (std::pow(zi, it.power) + std::pow(zj, it.power)) / it.length;
      double screening = 0.0, slope = 0.0;
      for (int t = 0; t < 4; ++t) {
        const double term = it.amplitudes[t] * std::exp(-it.rates[t] * rate * r[k]);
        screening += term;
        slope -= it.rates[t] * rate * term;
      }
      double on = 1.0, on_slope = 0.0;
      if (r[k] > inner) {
        const double u = (r[k] - inner) / (outer - inner);
        on = 1.0 - u * u * u * (10.0 - 15.0 * u + 6.0 * u * u);
        on_slope = -30.0 * u * u * (1.0 - u) * (1.0 - u) / (outer - inner);
      }
      const double bare = 0.5 * it.coulomb * zi * zj / r[k];
      energy += bare * screening * on;
      rows[Centre<N, L>::PUSH][k] += bare * (slope * on + screening * on_slope - screening * on / r[k]);
    }
  }
  return energy;
}

}  // namespace outcrop
