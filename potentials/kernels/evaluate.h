// Energy, forces and stress of one crystal in one sweep over its atoms.
#pragma once

#include <limits>
#include <vector>

#include "centre.h"
#include "crystal.h"
#include "network.h"
#include "products.h"
#include "repulsion.h"

namespace outcrop {

// Features of one centre in the plan's padded list; `moments` (n_kinds, N, VECTORS).
template <int N, int L>
void describe(const Centre<N, L>& around, const Group* of_kind, int n_kinds, const Plan& plan, V* moments, double* f) {
  const int n_max = around.shape.n_max;
  for (int d = 0; d < plan.length; ++d) f[d] = 0.0;
  for (int y = 0; y < n_kinds; ++y) {
    around.two_body(of_kind[y], f + plan.sums[y]);
    around.moments(of_kind[y], moments + y * Centre<N, L>::MOMENTS);
  }
  for (int y = 0; y < n_kinds; ++y) {
    const V* a = moments + y * Centre<N, L>::MOMENTS;
    Products<N, L>::add_square(n_max, a, f + plan.products[y * n_kinds + y]);
    for (int z = y + 1; z < n_kinds; ++z) {
      const V* b = moments + z * Centre<N, L>::MOMENTS;
      Products<N, L>::add_mixed(n_max, a, b, 1.0, f + plan.products[y * n_kinds + z]);
    }
  }
}

// What one thread needs, kept from crystal to crystal.
template <int N, int L>
struct Evaluation {
  const Network& network;
  Centre<N, L> around;
  Layer layer;
  Buffer<V> moments, back;
  Buffer<double> f, slope, energies;
  Images images;
  std::vector<Group> groups;

  explicit Evaluation(const Network& n) : network(n), around(n.shape), layer(n) {}

  void crystal(const Batch& batch, std::int64_t c, const Results& results) {
    const std::int64_t first = batch.offsets[c];
    const Crystal crystal(batch, c, network.shape, network.n_species);
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
    const double cutoff = network.shape.cutoff;
    V* const a = moments.need(n_kinds * Centre<N, L>::MOMENTS);
    V* const b = back.need(n_kinds * Centre<N, L>::MOMENTS);
    double* const own = energies.need(network.members);
    around.shell.reserve(n_kinds);
    if (!images.list(crystal.lattice, crystal.positions, crystal.n_atoms, crystal.order, crystal.kinds, cutoff, false))
      return false;
    for (int m = 0; m < network.members; ++m) members[m] = 0.0;
    for (int x = 0; x < 3 * crystal.n_atoms; ++x) forces[x] = 0.0;
    V virial[6] = {};

    for (int i = 0; i < crystal.n_atoms; ++i) {
      if (!around.shell.find(images, i, cutoff, groups)) return false;
      const int kind = crystal.kinds[i], element = crystal.elements[kind];
      const Plan& plan = crystal.plans[kind];
      around.prepare(groups.data(), n_kinds);
      double baseline = 0.0;
      if (network.repulsion.on)
        for (int y = 0; y < n_kinds; ++y)
          baseline += repel(network.repulsion, element, crystal.elements[y], groups[y], around);
      double* const features = f.need(plan.length);
      double* const by_feature = slope.need(plan.length);
      describe(around, groups.data(), n_kinds, plan, a, features);
      layer.forward(plan, element, features, own);
      double total = 0.0;
      for (int m = 0; m < network.members; ++m) {
        members[m] += own[m] + baseline;
        total += own[m];
      }
      atomic[i] = total / network.members + baseline;
      layer.pull(plan, element, by_feature);
      for (int y = 0; y < n_kinds; ++y) {
        V* const by_moment = b + y * Centre<N, L>::MOMENTS;
        Products<N, L>::pull(plan, n_kinds, y, network.shape.n_max, a, by_feature, around.packing, by_moment);
        pull_group(groups[y], by_moment, by_feature + plan.sums[y], i, forces, virial);
      }
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
  void pull_group(const Group& group, const V* by_moments, const double* by_sums, int i, double* forces, V* virial) {
    V own[3] = {};
    for (int b = group.first; b < group.last; ++b) {
      V f[3];
      around.pull(b, by_moments, by_sums, f[0], f[1], f[2]);
      const V* const rows = around.block(b);
      const V r = rows[Centre<N, L>::R];
      const V x = r * rows[Centre<N, L>::UX], y = r * rows[Centre<N, L>::UY], z = r * rows[Centre<N, L>::UZ];
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
