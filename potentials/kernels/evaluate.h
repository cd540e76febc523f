// Energy, forces and stress of one crystal in one sweep over its atoms.
#pragma once

#include <limits>
#include <vector>

#include "crystal.h"
#include "network.h"
#include "neighbours.h"
#include "repulsion.h"

namespace outcrop {

// What one thread needs, kept from crystal to crystal. `Centre` knows a descriptor around one atom:
//   prepare    after `shell` has found the neighbours; then the rows R, UX, UY, UZ, PUSH of their blocks are filled
//   describe   the features, in the plan's padded list
//   turn       takes dE/d(feature)
//   pull       the force along each bond of a block: dE/d(bond)
template <class Centre>
struct Evaluation {
  const Network& network;
  const double cutoff;
  Centre around;
  Layer layer;
  Buffer<double> f, slope, energies;
  Images images;
  std::vector<Group> groups;

  template <class Descriptor>
  Evaluation(const Descriptor& descriptor, const Network& n)
      : network(n), cutoff(descriptor.cutoff), around(descriptor), layer(n) {}

  void crystal(const Batch& batch, std::int64_t c, const Results& results) {
    const std::int64_t first = batch.offsets[c];
    const Crystal crystal(batch, c, network.sizes, network.n_species);
    double* members = results.members + c * network.members;
    double* stress = results.stresses + 9 * c;
    if (sweep(crystal, members, results.forces + 3 * first, stress, results.atomic + first)) return;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (int m = 0; m < network.members; ++m) members[m] = nan;
    for (int x = 0; x < 9; ++x) stress[x] = nan;
    for (int i = 0; i < crystal.n_atoms; ++i) results.atomic[first + i] = nan;
    for (int x = 0; x < 3 * crystal.n_atoms; ++x) results.forces[3 * first + x] = nan;
  }

 private:
  bool sweep(const Crystal& crystal, double* members, double* forces, double* stress, double* atomic) {
    if (!crystal.sound) return false;
    const int n_kinds = crystal.n_kinds();
    double* const own = energies.need(network.members);
    around.shell.reserve(n_kinds);
    if (!images.list(crystal.lattice, crystal.positions, crystal.n_atoms, crystal.order, crystal.kinds, cutoff, false))
      return false;
    for (int m = 0; m < network.members; ++m) members[m] = 0.0;
    for (int x = 0; x < 3 * crystal.n_atoms; ++x) forces[x] = 0.0;
    V virial[6] = {};

    for (int i = 0; i < crystal.n_atoms; ++i) {
      if (!around.shell.find(images, i, cutoff, groups, Centre::MOST)) return false;
      const int kind = crystal.kinds[i], element = crystal.elements[kind];
      const Plan& plan = crystal.plans[kind];
      around.prepare(groups.data(), n_kinds);
      double baseline = 0.0;
      if (network.repulsion.on || network.repulsion.core_energy != 0.0)
        for (int y = 0; y < n_kinds; ++y)
          baseline += repel(network.repulsion, element, crystal.elements[y], groups[y], around);
      double* const features = f.need(plan.length);
      double* const by_feature = slope.need(plan.length);
      around.describe(groups.data(), n_kinds, plan, features);
      layer.forward(plan, element, features, own);
      double total = 0.0;
      for (int m = 0; m < network.members; ++m) {
        members[m] += own[m] + baseline;
        total += own[m];
      }
      atomic[i] = total / network.members + baseline;
      layer.pull(plan, element, by_feature);
      around.turn(groups.data(), n_kinds, plan, by_feature);
      for (int y = 0; y < n_kinds; ++y) pull_group(groups[y], y, i, forces, virial);
    }
    for (int x = 0; x < 9; ++x) stress[x] = 0.0;
    if (crystal.periodic_everywhere) {
      static const int place[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {0, 2}, {0, 1}};
      for (int v = 0; v < 6; ++v) {
        const double value = sum(virial[v]) / crystal.volume();
        stress[3 * place[v][0] + place[v][1]] = stress[3 * place[v][1] + place[v][0]] = value;
      }
    }
    return true;
  }

  // Every bond pulls at its two ends; `virial` in Voigt order.
  void pull_group(const Group& group, int y, int i, double* forces, V* virial) {
    V own[3] = {};
    for (int b = group.first; b < group.last; ++b) {
      V f[3];
      around.pull(y, b, f[0], f[1], f[2]);
      const V* const rows = around.block(b);
      const V r = rows[Centre::R];
      const V x = r * rows[Centre::UX], y = r * rows[Centre::UY], z = r * rows[Centre::UZ];
      virial[0] += x * f[0];
      virial[1] += y * f[1];
      virial[2] += z * f[2];
      virial[3] += y * f[2];
      virial[4] += x * f[2];
      virial[5] += x * f[1];
      const int* atom = around.shell.atom + b * WIDTH;
      for (int k = 0; k < WIDTH; ++k)
        for (int d = 0; d < 3; ++d) forces[3 * atom[k] + d] -= f[d][k];
      for (int d = 0; d < 3; ++d) own[d] += f[d];
    }
    for (int d = 0; d < 3; ++d) forces[3 * i + d] += sum(own[d]);
  }
};

}  // namespace outcrop
