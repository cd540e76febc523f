// The symmetry functions of one centre: its neighbours and their pairs, features, and the way back to the bonds.
//
// An angular function is a sum over pairs of neighbours j, k of (1 +- cos)^zeta exp(-eta (r_ij² + r_ik² + r_jk²)) and
// three cut-offs: a factor of j, a factor of k, a factor of the pair. Pairs closer than the cut-off are listed, sorted
// by their elements, and taken four at a time.
#pragma once

#include <cmath>
#include <vector>

#include "interface.h"
#include "layout.h"
#include "neighbours.h"
#include "simd.h"

namespace outcrop {

// The angular functions in the order in which the kernel takes them: one exponent eta after the other.
struct AngularPlan {
  struct Term {
    int function;  // place in the block
    int power;     // place in Powers
  };
  std::vector<double> etas;
  std::vector<int> first;      // (etas + 1,) of the terms of each eta
  std::vector<Term> terms;
  std::vector<double> factor;  // (functions,) 2 2^(1 - zeta)
  int blunt = 0, sharp = 0;    // powers of 1 - cos and of 1 + cos that are needed

  explicit AngularPlan(const SymmetryFunctions& it) : etas(it.etas), first{0} {
    for (int m = 0; m < int(etas.size()); ++m) {
      for (int q = 0; q < int(it.angular.size()); ++q)
        if (it.angular[q].eta == m)
          terms.push_back({q, it.angular[q].doublings + (it.angular[q].sharp ? MOST_DOUBLINGS + 1 : 0)});
      first.push_back(int(terms.size()));
    }
    for (const Angular& a : it.angular) {
      factor.push_back(std::ldexp(4.0, -(1 << a.doublings)));
      int& most = a.sharp ? sharp : blunt;
      most = a.doublings + 1 > most ? a.doublings + 1 : most;
    }
  }
};

// (1 - cos)^(2^d), then (1 + cos)^(2^d), and what is left of their derivatives by cos.
struct Powers {
  V value[2 * (MOST_DOUBLINGS + 1)], slope[2 * (MOST_DOUBLINGS + 1)];

  template <bool WITH_SLOPES>
  OUTCROP_INLINE void raise(V base, double sign, int from, int most) {
    V power = base, below = splat(sign);
    for (int d = 0; d < most; ++d) {
      value[from + d] = power;
      if (WITH_SLOPES) {
        slope[from + d] = below;
        below *= 2.0 * power;
      }
      power *= power;
    }
  }
  template <bool WITH_SLOPES>
  OUTCROP_INLINE void of(V cosine, const AngularPlan& plan) {
    raise<WITH_SLOPES>(1.0 - cosine, -1.0, 0, plan.blunt);
    raise<WITH_SLOPES>(1.0 + cosine, 1.0, MOST_DOUBLINGS + 1, plan.sharp);
  }
};

struct SymmetryCentre {
  enum Row { UX, UY, UZ, R, INVERSE, PUSH, LOG_SLOPE, RADIAL };  // LOG_SLOPE fc'/fc; then exp(-eta (r - centre)²) fc
  enum Stored { COSINE, INVERSES, HALF_SLOPE, EXPONENTIALS };    // of four pairs; HALF_SLOPE fc'/(2 r fc) of r_jk

  static constexpr int MOST = MOST_IN_PAIRS;

  const SymmetryFunctions& functions;
  const AngularPlan angular;
  const double cutoff;
  const int n_radial, n_etas, stride, stride_near, stride_stored;
  Shell shell;

  explicit SymmetryCentre(const SymmetryFunctions& it)
      : functions(it), angular(it), cutoff(it.cutoff), n_radial(int(it.radial.size())), n_etas(int(it.etas.size())),
        stride(RADIAL + n_radial), stride_near(1 + (n_etas + WIDTH - 1) / WIDTH),
        stride_stored(EXPONENTIALS + n_etas) {}

  V* block(int b) const { return memory_.get() + std::size_t(b) * stride; }
  int n_near() const { return shell.count + 1; }  // the last stands for no neighbour

  // Pairs of neighbours of kinds y <= z: vectors first..last of four.
  struct Pairs {
    int y, z, first, last;
  };
  const std::vector<Pairs>& pairs() const { return pairs_; }
  const int* one() const { return one_.data(); }    // (4 last,) neighbours j
  const int* other() const { return other_.data(); }
  // x, y, z (Å) and 1/r of a neighbour; then exp(-eta r²) fc for every eta
  const V* near(int j) const { return near_.get() + std::size_t(j) * stride_near; }
  const V* stored(int vector) const { return stored_.get() + std::size_t(vector) * stride_stored; }

  void prepare(const Group* groups, int n_kinds) {
    memory_.need(std::size_t(shell.count / WIDTH) * stride);
    near_.need(std::size_t(n_near()) * stride_near);
    for (int g = 0; g < n_kinds; ++g)
      for (int b = groups[g].first; b < groups[g].last; ++b) fill(b, groups[g]);
    V* const nobody = near_.get() + std::size_t(shell.count) * stride_near;
    nobody[0] = V{1.0, 0.0, 0.0, 1.0};
    for (int e = 1; e < stride_near; ++e) nobody[e] = splat(0.0);
    list_pairs(groups, n_kinds);
  }

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
    for (const Pairs& p : pairs_) {
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
    for (const Pairs& p : pairs_) {
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
          const int j = one_[v * WIDTH + lane], k = other_[v * WIDTH + lane];
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
  Buffer<V> memory_, near_, stored_, totals_;
  Buffer<V> back_;  // two for each neighbour: sum, with 2 (dE/dr_jk² - sum eta), with cos; and a vector (Å)
  std::vector<int> one_, other_;
  Buffer<int> hits_;
  std::vector<Pairs> pairs_;
  std::vector<const double*> by_sums_;

  // fc(r) = cos²(pi r/2 Rc) and its logarithmic slope
  OUTCROP_INLINE void fade(V r, V& value, V& log_slope) const {
    V s, c;
    sine_cosine((r * (1.0 / cutoff) - 0.5) * (M_PI / 2), s, c);  // the angle less pi/4
    V down = c - s;                                              // sqrt(2) cos(pi r/2 Rc)
    down = down < 1e-20 ? splat(1e-20) : down;
    value = 0.5 * down * down;
    log_slope = (-M_PI / cutoff) * (s + c) / down;
  }

  void fill(int which, const Group& group) {
    V* const b = block(which);
    V x = load(shell.x + which * WIDTH), y = load(shell.y + which * WIDTH), z = load(shell.z + which * WIDTH);
    const V square = x * x + y * y + z * z, r = square_root(square);
    V inverse = 1.0 / r, value, log_slope;
    fade(r, value, log_slope);
    const int real = group.neighbours - (which - group.first) * WIDTH;
    value *= V{1.0, real > 1 ? 1.0 : 0.0, real > 2 ? 1.0 : 0.0, real > 3 ? 1.0 : 0.0};
    b[UX] = x * inverse;
    b[UY] = y * inverse;
    b[UZ] = z * inverse;
    b[R] = r;
    b[INVERSE] = inverse;
    b[PUSH] = splat(0.0);
    b[LOG_SLOPE] = log_slope;
    for (int k = 0; k < n_radial; ++k) {
      const V off = r - functions.radial[k].centre;
      b[RADIAL + k] = value * exponential<-700>(-functions.radial[k].eta * off * off);
    }
    V* const near = near_.get() + std::size_t(which) * WIDTH * stride_near;
    transpose(x, y, z, inverse);
    const V places[WIDTH] = {x, y, z, inverse};
    for (int lane = 0; lane < WIDTH; ++lane) near[lane * stride_near] = places[lane];
    for (int m = 0; m < n_etas; m += WIDTH) {
      V e[WIDTH];
      for (int k = 0; k < WIDTH; ++k)
        e[k] = m + k < n_etas ? value * exponential<-700>(-angular.etas[m + k] * square) : splat(0.0);
      transpose(e[0], e[1], e[2], e[3]);
      for (int lane = 0; lane < WIDTH; ++lane) near[lane * stride_near + 1 + m / WIDTH] = e[lane];
    }
  }

  void list_pairs(const Group* groups, int n_kinds) {
    one_.clear(), other_.clear(), pairs_.clear();
    int* const hits = hits_.need(shell.count + WIDTH);
    const double reach2 = cutoff * cutoff;
    for (int y = 0; y < n_kinds; ++y) {
      for (int z = y; z < n_kinds; ++z) {
        const int first = int(one_.size()) / WIDTH, start = groups[y].first * WIDTH;
        const int end = groups[z].first * WIDTH + groups[z].neighbours;
        for (int j = start; j < start + groups[y].neighbours; ++j) {
          const double x = shell.x[j], y0 = shell.y[j], z0 = shell.z[j];
          const int from = y == z ? j + 1 : groups[z].first * WIDTH;
          int n = 0;
          for (int k = from / WIDTH * WIDTH; k < end; k += WIDTH) {
            const V dx = load(shell.x + k) - x, dy = load(shell.y + k) - y0, dz = load(shell.z + k) - z0;
            const I place = I{0, 1, 2, 3} + std::int64_t(k);
            const I close = (I)(dx * dx + dy * dy + dz * dz < reach2) & (I)(place < end) & (I)(place >= from);
            n += compress(close, k, hits + n);
          }
          one_.insert(one_.end(), n, j);
          other_.insert(other_.end(), hits, hits + n);
        }
        while (one_.size() % WIDTH) one_.push_back(shell.count), other_.push_back(shell.count);
        pairs_.push_back({y, z, first, int(one_.size()) / WIDTH});
      }
    }
    stored_.need(one_.size() / WIDTH * stride_stored);
  }

  // Distance, angle and exponentials of four pairs.
  OUTCROP_INLINE const V* measure(int vector) {
    V* const s = stored_.get() + std::size_t(vector) * stride_stored;
    const int *j = &one_[vector * WIDTH], *k = &other_[vector * WIDTH];
    V xj = near(j[0])[0], yj = near(j[1])[0], zj = near(j[2])[0], ij = near(j[3])[0];
    V xk = near(k[0])[0], yk = near(k[1])[0], zk = near(k[2])[0], ik = near(k[3])[0];
    transpose(xj, yj, zj, ij);
    transpose(xk, yk, zk, ik);
    const V dx = xj - xk, dy = yj - yk, dz = zj - zk;
    V square = dx * dx + dy * dy + dz * dz;
    square = square < 1e-12 ? splat(1e-12) : square;  // of no pair, or of a crystal that fails
    const V r = square_root(square), inverses = ij * ik;
    V value, log_slope;
    fade(r, value, log_slope);
    s[INVERSES] = inverses;
    s[COSINE] = (xj * xk + yj * yk + zj * zk) * inverses;
    s[HALF_SLOPE] = 0.5 * log_slope / r;
    for (int m = 0; m < n_etas; m += WIDTH) {
      const int row = 1 + m / WIDTH;
      V e[WIDTH];
      repeat<WIDTH>([&](auto lane) OUTCROP_LAMBDA { e[lane] = near(j[lane])[row] * near(k[lane])[row]; });
      transpose(e[0], e[1], e[2], e[3]);
      for (int x = 0; x < WIDTH && m + x < n_etas; ++x)
        s[EXPONENTIALS + m + x] = e[x] * value * exponential<-700>(-angular.etas[m + x] * square);
    }
    return s;
  }
};

}  // namespace outcrop
