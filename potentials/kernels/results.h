// What an evaluation writes of one crystal.
#pragma once

#include <limits>

#include "crystal.h"
#include "neighbours.h"
#include "simd.h"

namespace outcrop {

// A crystal that cannot be evaluated.
inline void write_nan(const Results& results, const Batch& batch, std::int64_t c, int members) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int m = 0; m < members; ++m) results.members[c * members + m] = nan;
  for (int x = 0; x < 9; ++x) results.stresses[9 * c + x] = nan;
  for (std::int64_t i = batch.offsets[c]; i < batch.offsets[c + 1]; ++i) {
    results.atomic[i] = nan;
    for (int d = 0; d < 3; ++d) results.forces[3 * i + d] = nan;
  }
}

// `virial` in Voigt order, four at a time; zero where no axis is periodic, or the cell has no volume
inline void write_stress(const Crystal& crystal, const V* virial, double* stress) {
  for (int x = 0; x < 9; ++x) stress[x] = 0.0;
  const double volume = crystal.volume();
  if (crystal.lattice.rank == 0 || !(volume > 0.0)) return;
  static const int place[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {0, 2}, {0, 1}};
  for (int v = 0; v < 6; ++v) {
    const double value = sum(virial[v]) / volume;
    stress[3 * place[v][0] + place[v][1]] = stress[3 * place[v][1] + place[v][0]] = value;
  }
}

// Every bond of a group pulls at its two ends; `bond(b, at, f)` gives four bonds and dE/d(bond). `virial` in Voigt order.
template <class Bond>
OUTCROP_INLINE void pull_group(const Group& group, const int* atoms, int i, double* forces, V* virial, Bond&& bond) {
  V own[3] = {};
  for (int b = group.first; b < group.last; ++b) {
    V f[3], at[3];
    bond(b, at, f);
    const V x = at[0], y = at[1], z = at[2];
    virial[0] += x * f[0];
    virial[1] += y * f[1];
    virial[2] += z * f[2];
    virial[3] += y * f[2];
    virial[4] += x * f[2];
    virial[5] += x * f[1];
    const int* atom = atoms + b * WIDTH;
    for (int k = 0; k < WIDTH; ++k)
      for (int d = 0; d < 3; ++d) forces[3 * atom[k] + d] -= f[d][k];
    for (int d = 0; d < 3; ++d) own[d] += f[d];
  }
  for (int d = 0; d < 3; ++d) forces[3 * i + d] += sum(own[d]);
}

}  // namespace outcrop
