// Points of a lattice inside a sphere and a box: exact for cells of any size and skew, and for any set of periodic axes.
//
// The periodic vectors, shortest first, are orthogonalised: a_k = sum_b R_bk e_b. Planes, then lines, then points of
// the lattice inside the sphere are visited (Fincke and Pohst, Math. Comp. 44, 463 (1985)), and inside a box along the
// e_b as well, since in a sphere around a long cell nearly all images are far from its atoms.
#pragma once

#include <cmath>
#include <cstdint>

namespace outcrop {

struct Lattice {
  int rank = 0;
  bool sound = true;         // false when the periodic vectors have no extent
  double vector[3][3] = {};  // the periodic vectors, shortest first; zero beyond the rank
  double axis[3][3] = {};    // e_b
  double r[3][3] = {};       // R_bk
};

inline Lattice lattice_of(const double* cell, const std::uint8_t* periodic) {
  Lattice it;
  double length[3];
  for (int a = 0; a < 3; ++a) {
    if (!periodic[a]) continue;
    const double* v = cell + 3 * a;
    const double own = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    int at = it.rank++;
    for (; at > 0 && length[at - 1] > own; --at) {
      length[at] = length[at - 1];
      for (int x = 0; x < 3; ++x) it.vector[at][x] = it.vector[at - 1][x];
    }
    length[at] = own;
    for (int x = 0; x < 3; ++x) it.vector[at][x] = v[x];
  }
  for (int k = 0; k < it.rank; ++k) {
    double rest[3] = {it.vector[k][0], it.vector[k][1], it.vector[k][2]};
    for (int b = 0; b < k; ++b) {
      const double* e = it.axis[b];
      it.r[b][k] = rest[0] * e[0] + rest[1] * e[1] + rest[2] * e[2];
      for (int x = 0; x < 3; ++x) rest[x] -= it.r[b][k] * e[x];
    }
    const double height = std::sqrt(rest[0] * rest[0] + rest[1] * rest[1] + rest[2] * rest[2]);
    it.r[k][k] = height;
    it.sound = it.sound && height > 1e-6 && height > 1e-9 * length[k] && std::isfinite(length[k]);
    for (int x = 0; x < 3; ++x) it.axis[k][x] = rest[x] / height;
  }
  return it;
}

// Range of the whole numbers n with |q + n step| < reach, a little wide; `whole` is false when it is beyond reason.
struct Range {
  double low, high;
  bool whole;
};
inline Range range_of(double q, double step, double reach) {
  const double inverse = 1.0 / step;
  const double low = std::ceil((-q - reach) * inverse - 1e-9), high = std::floor((reach - q) * inverse + 1e-9);
  return {low, high, std::abs(low) < 1e9 && std::abs(high) < 1e9};
}

// Along e_b: the range that something takes up.
struct Box {
  double low[3] = {0.0, 0.0, 0.0}, high[3] = {0.0, 0.0, 0.0};
};

// The same for whole numbers n with low < q + n step < high as well.
inline Range range_of(double q, double step, double reach, double low, double high) {
  Range range = range_of(q, step, reach);
  range.low = std::fmax(range.low, std::ceil((low - q) / step - 1e-9));
  range.high = std::fmin(range.high, std::floor((high - q) / step + 1e-9));
  return range;
}

// Calls f(shift) for every lattice vector with |point + shift| < reach and point + shift inside the box, where `point`
// counts only along the periodic vectors; the bounds are a little wide. False when it is beyond reason: `budget` limits
// the planes, lines and points.
template <class F>
bool each_image(const Lattice& it, const double* point, double reach, const Box& box, std::int64_t& budget, F&& f) {
  const double reach2 = reach * reach * (1.0 + 1e-9);
  double q[3] = {0.0, 0.0, 0.0};
  for (int b = 0; b < it.rank; ++b)
    q[b] = point[0] * it.axis[b][0] + point[1] * it.axis[b][1] + point[2] * it.axis[b][2];
  Range planes{0.0, 0.0, true}, lines = planes, points = planes;  // an axis that is not periodic has one image
  if (it.rank > 2) planes = range_of(q[2], it.r[2][2], std::sqrt(reach2), box.low[2], box.high[2]);
  if (!planes.whole) return false;
  for (double n2 = planes.low; n2 <= planes.high; ++n2) {
    if (--budget < 0) return false;
    const double s2 = q[2] + n2 * it.r[2][2], left2 = reach2 - s2 * s2;
    if (left2 < 0.0) continue;
    const double q1 = q[1] + n2 * it.r[1][2];
    if (it.rank > 1) lines = range_of(q1, it.r[1][1], std::sqrt(left2), box.low[1], box.high[1]);
    if (!lines.whole) return false;
    for (double n1 = lines.low; n1 <= lines.high; ++n1) {
      if (--budget < 0) return false;
      const double s1 = q1 + n1 * it.r[1][1], left1 = left2 - s1 * s1;
      if (left1 < 0.0) continue;
      const double q0 = q[0] + n1 * it.r[0][1] + n2 * it.r[0][2];
      if (it.rank > 0) points = range_of(q0, it.r[0][0], std::sqrt(left1), box.low[0], box.high[0]);
      if (!points.whole || points.high - points.low > double(budget)) return false;
      for (double n0 = points.low; n0 <= points.high; ++n0) {
        --budget;
        double shift[3];
        for (int x = 0; x < 3; ++x)
          shift[x] = n0 * it.vector[0][x] + n1 * it.vector[1][x] + n2 * it.vector[2][x];
        f(shift);
      }
    }
  }
  return true;
}

// Moves `point` by a lattice vector into the box of the orthogonalised vectors around the origin.
inline void wrap(const Lattice& it, double* point) {
  for (int b = it.rank - 1; b >= 0; --b) {
    const double* e = it.axis[b];
    const double n = std::nearbyint((point[0] * e[0] + point[1] * e[1] + point[2] * e[2]) / it.r[b][b]);
    for (int x = 0; x < 3; ++x) point[x] -= n * it.vector[b][x];
  }
}

// Distance from the origin along the periodic vectors; the box grows so that it has the point.
inline double along(const Lattice& it, const double* point, Box& box) {
  double total = 0.0;
  for (int b = 0; b < it.rank; ++b) {
    const double q = point[0] * it.axis[b][0] + point[1] * it.axis[b][1] + point[2] * it.axis[b][2];
    box.low[b] = std::fmin(box.low[b], q);
    box.high[b] = std::fmax(box.high[b], q);
    total += q * q;
  }
  return std::sqrt(total);
}

}  // namespace outcrop
