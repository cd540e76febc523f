// Symmetry functions of one crystal and their derivatives by positions and strain: the tables of training.
//
// The derivatives by the place of a neighbour are added up for each neighbour and function, then handed to the atoms
// and to the strain.
#pragma once

#include <vector>

#include "crystal.h"
#include "describe.h"
#include "symmetry_functions.h"

namespace outcrop {

struct SymmetryTables {
  const Sizes sizes;
  SymmetryCentre around;
  Buffer<double> f, columns;
  Buffer<V> moved;  // (neighbours, n_kinds, angular): sum of f D, and the coefficient of the neighbour's own D
  Images images;
  std::vector<Group> groups;

  explicit SymmetryTables(const SymmetryFunctions& it) : sizes(it.sizes()), around(it) {}

  bool prepare(const Crystal& it, bool) {
    around.shell.reserve(it.n_kinds());
    return images.list(it.lattice, it.positions, it.n_atoms, it.order, it.kinds, around.cutoff, false);
  }

  bool centre(const Crystal& it, int i, double* table, double* slopes) {
    if (!around.shell.find(images, i, around.cutoff, groups, MOST_IN_PAIRS)) return false;
    around.prepare(groups.data(), it.n_kinds());
    const Plan& plan = it.plans[it.kinds[i]];
    double* const features = f.need(plan.length);
    around.describe(groups.data(), it.n_kinds(), plan, features);
    write_features(plan, features, table);
    if (!slopes) return true;
    const std::size_t length = plan.length, n = it.n_atoms;
    double* const column = columns.need((3 * n + STRAINS) * length);
    for (std::size_t x = 0; x < (3 * n + STRAINS) * length; ++x) column[x] = 0.0;
    move_pairs(it.n_kinds());
    for (int y = 0; y < it.n_kinds(); ++y)
      for (int b = groups[y].first; b < groups[y].last; ++b) hand_on(it, i, y, b, plan, column);
    write_slopes(plan, it.n_atoms, column, slopes);
    return true;
  }

 private:
  // Every pair's change of every angular function, to its two neighbours.
  void move_pairs(int n_kinds) {
    using S = SymmetryCentre;
    const int n_angular = sizes.products;
    const AngularPlan& angular = around.angular;
    V* const all = moved.need(std::size_t(around.n_near()) * n_kinds * n_angular);
    for (std::size_t x = 0; x < std::size_t(around.n_near()) * n_kinds * n_angular; ++x) all[x] = splat(0.0);
    Powers powers;
    for (const S::Pairs& p : around.pairs()) {
      for (int v = p.first; v < p.last; ++v) {
        const V* const s = around.stored(v);
        powers.of<true>(s[S::COSINE], angular);
        const int *one = around.one() + v * WIDTH, *other = around.other() + v * WIDTH;
        V half_one, half_other, square_one, square_other, place_one[WIDTH], place_other[WIDTH];
        for (int lane = 0; lane < WIDTH; ++lane) {
          measure(one[lane], lane, half_one, square_one, place_one[lane]);
          measure(other[lane], lane, half_other, square_other, place_other[lane]);
        }
        for (std::size_t m = 0; m < angular.etas.size(); ++m) {
          const double eta = angular.etas[m];
          for (int t = angular.first[m]; t < angular.first[m + 1]; ++t) {
            const int q = angular.terms[t].function, power = angular.terms[t].power;
            const V e = angular.factor[q] * s[S::EXPONENTIALS + m];
            const V value = e * powers.value[power], turning = e * powers.slope[power];
            const V opposite = value * (s[S::HALF_SLOPE] - eta), mixed = turning * s[S::INVERSES] - 2.0 * opposite;
            const V bend = turning * s[S::COSINE];
            const V at_one = 2.0 * (value * (half_one - eta) + opposite) - bend * square_one;
            const V at_other = 2.0 * (value * (half_other - eta) + opposite) - bend * square_other;
            for (int lane = 0; lane < WIDTH; ++lane) {
              const double w = mixed[lane];
              all[(std::size_t(one[lane]) * n_kinds + p.z) * n_angular + q] +=
                  V{w, w, w, at_one[lane]} * place_other[lane];
              all[(std::size_t(other[lane]) * n_kinds + p.y) * n_angular + q] +=
                  V{w, w, w, at_other[lane]} * place_one[lane];
            }
          }
        }
      }
    }
  }

  // fc'/(2 r fc), 1/r² and {x, y, z, 1} of a neighbour
  void measure(int j, int lane, V& half, V& square, V& place) const {
    const V near = around.near(j)[0];
    const V* const rows = around.block(j / WIDTH);
    half[lane] = j < around.shell.count ? 0.5 * rows[SymmetryCentre::LOG_SLOPE][j % WIDTH] * near[3] : 0.0;
    square[lane] = near[3] * near[3];
    place = V{near[0], near[1], near[2], 1.0};
  }

  // The changes by four neighbours of kind y, to the columns (3 n + 6, length) of their atoms, of the centre, of strain.
  void hand_on(const Crystal& it, int i, int y, int which, const Plan& plan, double* column) const {
    using S = SymmetryCentre;
    static const int first[STRAINS] = {0, 1, 2, 1, 0, 0}, second[STRAINS] = {0, 1, 2, 2, 2, 1};
    const int n_kinds = it.n_kinds(), n_angular = sizes.products;
    const std::size_t length = plan.length;
    const V* const b = around.block(which);
    for (int lane = 0; lane < WIDTH; ++lane) {
      const int j = which * WIDTH + lane, atom = around.shell.atom[j];
      if (j - groups[y].first * WIDTH >= groups[y].neighbours) break;
      const double at[3] = {around.shell.x[j], around.shell.y[j], around.shell.z[j]};
      auto add = [&](int feature, const double* change) {
        for (int d = 0; d < 3; ++d) {
          if (atom != i) {  // an atom moves with its own images
            column[(3 * atom + d) * length + feature] += change[d];
            column[(3 * i + d) * length + feature] -= change[d];
          }
        }
        for (int s = 0; s < STRAINS; ++s)
          column[(3 * it.n_atoms + s) * length + feature] +=
              0.5 * (at[first[s]] * change[second[s]] + at[second[s]] * change[first[s]]);
      };
      for (int k = 0; k < sizes.sums; ++k) {
        const Radial& own = around.functions.radial[k];
        const double slope =
            b[S::RADIAL + k][lane] * (b[S::LOG_SLOPE][lane] - 2.0 * own.eta * (b[S::R][lane] - own.centre));
        const double change[3] = {slope * b[S::UX][lane], slope * b[S::UY][lane], slope * b[S::UZ][lane]};
        add(plan.sums[y] + k, change);
      }
      const V* const own = moved.get() + std::size_t(j) * n_kinds * n_angular;
      for (int z = 0; z < n_kinds; ++z) {
        for (int q = 0; q < n_angular; ++q) {
          const V m = own[z * n_angular + q];
          const double change[3] = {m[0] + m[3] * at[0], m[1] + m[3] * at[1], m[2] + m[3] * at[2]};
          add(plan.products[y * n_kinds + z] + q, change);
        }
      }
    }
  }
};

}  // namespace outcrop
