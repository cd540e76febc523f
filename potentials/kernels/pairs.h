// The neighbours of one centre and their pairs: what every symmetry function is made of.
//
// An angular function is a sum over pairs of neighbours j, k of (1 +- cos)^zeta exp(-eta (r_ij² + r_ik² + r_jk²)) and
// three cut-offs: a factor of j, a factor of k, a factor of the pair. Pairs closer than the cut-off are listed, sorted
// by their elements, and taken four at a time.
#pragma once

#include <cmath>
#include <vector>

#include "angular.h"
#include "interface.h"
#include "neighbours.h"
#include "simd.h"

namespace outcrop {

struct PairedShell {
  enum Row { UX, UY, UZ, R, INVERSE, PUSH, LOG_SLOPE, RADIAL };  // LOG_SLOPE fc'/fc; then exp(-eta (r - centre)²) fc
  enum Stored { COSINE, INVERSES, HALF_SLOPE, EXPONENTIALS };    // of four pairs; HALF_SLOPE fc'/(2 r fc) of r_jk

  const SymmetryFunctions& functions;
  const AngularPlan angular;
  const double cutoff;
  const int n_radial, n_etas, stride, stride_near, stride_stored;
  Shell shell;

  explicit PairedShell(const SymmetryFunctions& it)
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

 private:
  Buffer<V> memory_, near_, stored_;
  std::vector<int> one_, other_;
  Buffer<int> hits_;
  std::vector<Pairs> pairs_;

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
};

}  // namespace outcrop
