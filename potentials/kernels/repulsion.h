// Repulsion of close pairs; formulas and constants in repulsion.py.
#pragma once

#include <cmath>

#include "interface.h"
#include "neighbours.h"
#include "simd.h"

namespace outcrop {

// Half of the energy of a pair at distance r < outer, and its slope.
inline double screened(const Repulsion& it, int centre, int other, double r, double inner, double outer,
                       double& push) {
  const double zi = it.charges[centre], zj = it.charges[other];
  const double rate = (std::pow(zi, it.power) + std::pow(zj, it.power)) / it.length;
  double screening = 0.0, slope = 0.0;
  for (int t = 0; t < 4; ++t) {
    const double term = it.amplitudes[t] * std::exp(-it.rates[t] * rate * r);
    screening += term;
    slope -= it.rates[t] * rate * term;
  }
  double on = 1.0, on_slope = 0.0;
  if (r > inner) {
    const double u = (r - inner) / (outer - inner);
    on = 1.0 - u * u * u * (10.0 - 15.0 * u + 6.0 * u * u);
    on_slope = -30.0 * u * u * (1.0 - u) * (1.0 - u) / (outer - inner);
  }
  const double bare = 0.5 * it.coulomb * zi * zj / r;
  push += bare * (slope * on + screening * on_slope - screening * on / r);
  return bare * screening * on;
}

// One of the two equal terms of a pair at distance r < reach, and its slope.
inline double hard_core(double energy, double reach, double r, double& push) {
  const double angle = M_PI * r / reach, fade = 0.5 * (1.0 + std::cos(angle));
  push += energy * (-0.5 * M_PI * std::sin(angle) / r - fade * reach / (r * r));
  return energy * fade * reach / r;
}

// Energy between a centre and one group of its neighbours, which counts once at either end; adds the slopes to the
// blocks of the neighbours.
template <class Centre>
double repel(const Repulsion& it, int centre, int other, const Group& group, const Centre& around) {
  const double reach = it.radii[centre] + it.radii[other], core = it.cores[centre] + it.cores[other];
  const double inner = it.inner * reach, outer = it.on ? it.outer * reach : 0.0;
  double energy = 0.0;
  for (int b = group.first; b < group.last; ++b) {
    V* const rows = around.block(b);
    const V r = rows[Centre::R];
    const int real = group.neighbours - (b - group.first) * WIDTH;
    for (int k = 0; k < WIDTH && k < real; ++k) {
      double push = 0.0;
      if (r[k] < outer) energy += screened(it, centre, other, r[k], inner, outer, push);
      if (it.core_energy != 0.0 && r[k] < core) energy += hard_core(it.core_energy, core, r[k], push);
      rows[Centre::PUSH][k] += push;
    }
  }
  return energy;
}

}  // namespace outcrop
