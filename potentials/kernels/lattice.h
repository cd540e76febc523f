// Neighbours of an atom: exact for cells of any size and skew, and for any set of periodic axes.
//
// The periodic vectors, shortest first, are orthogonalised: a_k = sum_b R_bk e_b. Planes, then lines, then points of
// the lattice inside the sphere are visited (Fincke and Pohst, Math. Comp. 44, 463 (1985)), so that the work follows
// the number of neighbours and not the shape of the cell.
#pragma once

#include <cmath>
#include <cstdint>

#include "simd.h"

namespace outcrop {

constexpr int MOST_NEIGHBOURS = 3000;            // of one atom; more means a collapsed cell
constexpr std::int64_t MOST_LINES = 4'000'000;   // of one crystal, and 64 for every pair of atoms

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

// Neighbours of one centre as they are found: three coordinates of the bond and the place of the atom.
struct Shell {
  Buffer<double> memory;
  Buffer<int> atoms;
  double *x = nullptr, *y = nullptr, *z = nullptr;
  int* atom = nullptr;
  int count = 0;      // with the padding
  int neighbours = 0; // without

  void reserve(int groups) {
    const std::size_t most = padded_size(groups);
    x = memory.need(3 * most);
    y = x + most;
    z = y + most;
    atom = atoms.need(most);
  }
  void clear() { count = neighbours = 0; }
  // Fill the last block of four with bonds which count for nothing.
  void pad(int centre, double distance) {
    for (; count % WIDTH; ++count) {
      x[count] = y[count] = 0.0;
      z[count] = distance;
      atom[count] = centre;
    }
  }

 private:
  static std::size_t padded_size(int groups) { return MOST_NEIGHBOURS + WIDTH + std::size_t(groups) * WIDTH; }
};

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

// Adds the images of one atom, `bond` away from the centre, that lie inside the cut-off. False when the crystal
// cannot be searched: too many neighbours, too much work (`budget`), or two atoms in one place.
inline bool add_images(const Lattice& it, double cutoff, const double* bond, bool itself, int atom, Shell& shell,
                       std::int64_t& budget) {
  const double reach2 = cutoff * cutoff, wide2 = reach2 * (1.0 + 1e-9);
  double q[3] = {0.0, 0.0, 0.0}, rest[3] = {bond[0], bond[1], bond[2]};
  for (int b = 0; b < it.rank; ++b) {
    const double* e = it.axis[b];
    q[b] = bond[0] * e[0] + bond[1] * e[1] + bond[2] * e[2];
    for (int x = 0; x < 3; ++x) rest[x] -= q[b] * e[x];
  }
  const double across = it.rank == 3 ? 0.0 : rest[0] * rest[0] + rest[1] * rest[1] + rest[2] * rest[2];
  if (!(across < wide2)) return std::isfinite(across);

  Range planes{0.0, 0.0, true};
  if (it.rank > 2) planes = range_of(q[2], it.r[2][2], std::sqrt(wide2 - across));
  if (!planes.whole) return false;
  for (double n2 = planes.low; n2 <= planes.high; ++n2) {
    if (--budget < 0) return false;
    const double s2 = q[2] + n2 * it.r[2][2];
    const double left2 = wide2 - across - (it.rank > 2 ? s2 * s2 : 0.0);
    if (left2 < 0.0) continue;
    const double q1 = q[1] + n2 * it.r[1][2];
    Range lines{0.0, 0.0, true};
    if (it.rank > 1) lines = range_of(q1, it.r[1][1], std::sqrt(left2));
    if (!lines.whole) return false;
    for (double n1 = lines.low; n1 <= lines.high; ++n1) {
      if (--budget < 0) return false;
      const double s1 = q1 + n1 * it.r[1][1];
      const double left1 = left2 - (it.rank > 1 ? s1 * s1 : 0.0);
      if (left1 < 0.0) continue;
      const double q0 = q[0] + n1 * it.r[0][1] + n2 * it.r[0][2];
      Range points{0.0, 0.0, true};
      if (it.rank > 0) points = range_of(q0, it.r[0][0], std::sqrt(left1));
      if (!points.whole) return false;
      double base[3];
      for (int x = 0; x < 3; ++x) base[x] = bond[x] + n1 * it.vector[1][x] + n2 * it.vector[2][x];
      for (double n0 = points.low; n0 <= points.high; ++n0) {
        const double dx = base[0] + n0 * it.vector[0][0];
        const double dy = base[1] + n0 * it.vector[0][1];
        const double dz = base[2] + n0 * it.vector[0][2];
        const double distance2 = dx * dx + dy * dy + dz * dz;
        if (!(distance2 < reach2) || (itself && n0 == 0.0 && n1 == 0.0 && n2 == 0.0)) continue;
        if (distance2 < 1e-12 || shell.neighbours == MOST_NEIGHBOURS) return false;
        shell.x[shell.count] = dx;
        shell.y[shell.count] = dy;
        shell.z[shell.count] = dz;
        shell.atom[shell.count++] = atom;
        ++shell.neighbours;
      }
    }
  }
  return true;
}

}  // namespace outcrop
