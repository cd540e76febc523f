// The symmetry functions of one centre: features, and the way back from their slopes to the bonds.
#pragma once

#include <vector>

#include "interface.h"
#include "layout.h"
#include "pairs.h"
#include "simd.h"

namespace outcrop {

struct SymmetryCentre : PairedShell {
  static constexpr int MOST = MOST_IN_PAIRS;
  using PairedShell::PairedShell;

  // The features in the plan's padded list; keeps what `turn` needs again.
  void describe(const Group* groups, int n_kinds, const Plan& plan, double* f) {
    for (int d = 0; d < plan.length; ++d) f[d] = 0.0;
    for (int y = 0; y < n_kinds; ++y) {
      for (int k = 0; k < n_radial; ++k) {
        V total = splat(0.0);
        for (int b = groups[y].first; b < groups[y].last; ++b) total += block(b)[RADIAL + k];
        f[plan.sums[y] + k] = sum(total);
      }
    }
    V* const total = totals_.need(angular.factor.size());
    Powers powers;
    for (const Pairs& p : pairs()) {
      for (std::size_t q = 0; q < angular.factor.size(); ++q) total[q] = splat(0.0);
      for (int v = p.first; v < p.last; ++v) {
        const V* const s = measure(v);
        powers.of<false>(s[COSINE], angular);
        for (int m = 0; m < n_etas; ++m) {
          const V e = s[EXPONENTIALS + m];
          for (int t = angular.first[m]; t < angular.first[m + 1]; ++t)
            total[angular.terms[t].function] += e * powers.value[angular.terms[t].power];
        }
      }
      double* const own = f + plan.products[p.y * n_kinds + p.z];
      for (std::size_t q = 0; q < angular.factor.size(); ++q) own[q] = angular.factor[q] * sum(total[q]);
    }
  }

  // Takes dE/d(feature). With E_m the exponentials of a pair and T_m the sum of its angular parts times their slopes,
  // dE/dr_ij² = sum_m E_m T_m (fc'/(2 r fc) - eta_m), the same for ik and jk, and dE/dcos = sum_m E_m dT_m/dcos.
  void turn(const Group*, int n_kinds, const Plan& plan, const double* slope) {
    by_sums_.resize(n_kinds);
    for (int y = 0; y < n_kinds; ++y) by_sums_[y] = slope + plan.sums[y];
    V* const back = back_.need(2 * std::size_t(n_near()));
    for (int x = 0; x < 2 * n_near(); ++x) back[x] = splat(0.0);
    V* const weight = totals_.need(angular.factor.size());
    Powers powers;
    for (const Pairs& p : pairs()) {
      const double* const own = slope + plan.products[p.y * n_kinds + p.z];
      for (std::size_t t = 0; t < angular.terms.size(); ++t) {
        const int q = angular.terms[t].function;
        weight[t] = splat(angular.factor[q] * own[q]);
      }
      for (int v = p.first; v < p.last; ++v) {
        const V* const s = stored(v);
        powers.of<true>(s[COSINE], angular);
        V all = splat(0.0), with_eta = splat(0.0), turning = splat(0.0);
        for (int m = 0; m < n_etas; ++m) {
          V angle = splat(0.0), bend = splat(0.0);
          for (int t = angular.first[m]; t < angular.first[m + 1]; ++t) {
            angle += weight[t] * powers.value[angular.terms[t].power];
            bend += weight[t] * powers.slope[angular.terms[t].power];
          }
          const V e = s[EXPONENTIALS + m], term = e * angle;
          all += term;
          with_eta += angular.etas[m] * term;
          turning += e * bend;
        }
        const V opposite = all * s[HALF_SLOPE] - with_eta;  // dE/dr_jk²
        const V mixed = turning * s[INVERSES] - 2.0 * opposite;
        V a = all, b = 2.0 * (opposite - with_eta), c = turning * s[COSINE], d = mixed;
        transpose(a, b, c, d);
        const V rows[WIDTH] = {a, b, c, d};
        for (int lane = 0; lane < WIDTH; ++lane) {
          const int j = one()[v * WIDTH + lane], k = other()[v * WIDTH + lane];
          back[2 * j] += rows[lane];
          back[2 * k] += rows[lane];
          const V w = splat(mixed[lane]);
          back[2 * j + 1] += w * near(k)[0];
          back[2 * k + 1] += w * near(j)[0];
        }
      }
    }
  }

  // dE/d(bond) of a block of neighbours of kind y
  OUTCROP_INLINE void pull(int y, int which, V& fx, V& fy, V& fz) const {
    const V* const b = block(which);
    const V* const back = back_.get() + 2 * WIDTH * std::size_t(which);
    V all = back[0], radial = back[2], turning = back[4], rest = back[6];
    transpose(all, radial, turning, rest);
    fx = back[1], fy = back[3], fz = back[5], rest = back[7];
    transpose(fx, fy, fz, rest);
    V push = b[PUSH] + b[R] * radial + b[LOG_SLOPE] * all - turning * b[INVERSE];
    for (int k = 0; k < n_radial; ++k) {
      const Radial& own = functions.radial[k];
      push += by_sums_[y][k] * b[RADIAL + k] * (b[LOG_SLOPE] - 2.0 * own.eta * (b[R] - own.centre));
    }
    fx += push * b[UX];
    fy += push * b[UY];
    fz += push * b[UZ];
  }

 private:
  Buffer<V> totals_;
  Buffer<V> back_;  // two for each neighbour: sum, with 2 (dE/dr_jk² - sum eta), with cos; and a vector (Å)
  std::vector<const double*> by_sums_;
};

}  // namespace outcrop
