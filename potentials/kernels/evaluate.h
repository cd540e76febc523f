// Energy, forces and stress of one crystal in one sweep over its atoms.
#pragma once

#include <vector>

#include "crystal.h"
#include "embedded.h"
#include "network.h"
#include "neighbours.h"
#include "repulsion.h"
#include "results.h"

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
  Embedding under;

  template <class Descriptor>
  Evaluation(const Descriptor& descriptor, const Network& n)
      : network(n), cutoff(descriptor.cutoff), around(descriptor), layer(n) {}

  void crystal(const Batch& batch, std::int64_t c, const Results& results) {
    const std::int64_t first = batch.offsets[c];
    const Crystal crystal(batch, c, network.sizes, network.n_species);
    double* members = results.members + c * network.members;
    double* stress = results.stresses + 9 * c;
    if (!sweep(crystal, members, results.forces + 3 * first, stress, results.atomic + first))
      write_nan(results, batch, c, network.members);
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
      if (network.embedded.on)
        baseline += under.embed(network.embedded, network.n_species, element, crystal.elements, groups.data(), n_kinds, around);
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
      for (int y = 0; y < n_kinds; ++y) {
        pull_group(groups[y], around.shell.atom, i, forces, virial, [&](int b, V* at, V* f) OUTCROP_LAMBDA {
          around.pull(y, b, f[0], f[1], f[2]);
          const V* const rows = around.block(b);
          for (int d = 0; d < 3; ++d) at[d] = rows[Centre::R] * rows[Centre::UX + d];
        });
      }
    }
    write_stress(crystal, virial, stress);
    return true;
  }
};

}  // namespace outcrop
