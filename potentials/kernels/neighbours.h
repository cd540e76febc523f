// Neighbours of the atoms of one crystal: all images that can matter are listed once, then searched for each atom; where
// they are many, sorted into cubes of the cut-off first, of which an atom has 27 to search. Neighbours come in the same
// order either way.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "lattice.h"
#include "simd.h"

namespace outcrop {

constexpr int MOST_NEIGHBOURS = 3000;           // of one atom; more means a collapsed cell
constexpr int MOST_IN_PAIRS = 1000;             // the same where pairs of neighbours are listed
constexpr std::int64_t MOST_IMAGES = 300'000;   // of one crystal, and 200 for every atom: bounds memory and time

  // Writes k + lane of the lanes that are true, in order, and tells how many; writes four numbers in any case.
  OUTCROP_INLINE int compress(I truth, int k, int* to) {
    static constexpr int LANES[16][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {2, 0, 0, 0},
                                         {0, 2, 0, 0}, {1, 2, 0, 0}, {0, 1, 2, 0}, {3, 0, 0, 0}, {0, 3, 0, 0},
                                         {1, 3, 0, 0}, {0, 1, 3, 0}, {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0},
                                         {0, 1, 2, 3}};
    static constexpr int COUNT[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
#if defined(__AVX__)
    const int mask = _mm256_movemask_pd((__m256d)truth);
#else
    const int mask = int((truth[0] & 1) | (truth[1] & 2) | (truth[2] & 4) | (truth[3] & 8));
#endif
    for (int lane = 0; lane < WIDTH; ++lane) to[lane] = k + LANES[mask][lane];
    return COUNT[mask];
  }

constexpr std::size_t FEW_IMAGES = 8192;          // up to which all are searched for every atom

// Blocks first..last of four images or neighbours of one element, or of one atom.
struct Group {
  int kind, first, last, neighbours;
};

// Images sorted into cubes with edges of the cut-off; the cubes along z follow each other.
struct Bins {
  double low[3], inverse = 0.0;
  int count[3] = {0, 0, 0};  // along each axis; zero where there are no cubes
  std::vector<int> first;    // of each cube, and the end of the last
  std::vector<int> image;
  std::vector<double> x, y, z;  // Å, by `image`

  bool on() const { return count[0] > 0; }

  int along(int d, double value) const {
    const double place = (value - low[d]) * inverse;
    return place > 0.0 ? std::min(static_cast<int>(place), count[d] - 1) : 0;
  }

  int cube(double px, double py, double pz) const {
    return (along(0, px) * count[1] + along(1, py)) * count[2] + along(2, pz);
  }

  // All of them but those that only fill a block, which are `far` away.
  void sort(const std::vector<double>& px, const std::vector<double>& py, const std::vector<double>& pz, double far,
            double cutoff) {
    count[0] = count[1] = count[2] = 0;
    if (px.size() <= FEW_IMAGES) return;
    double high[3];
    const std::vector<double>* const own[3] = {&px, &py, &pz};
    inverse = 1.0 / cutoff;
    double total = 1.0;
    for (int d = 0; d < 3; ++d) {
      low[d] = far, high[d] = -far;
      for (const double value : *own[d])
        if (value < far) low[d] = std::fmin(low[d], value), high[d] = std::fmax(high[d], value);
      total *= std::floor((high[d] - low[d]) * inverse) + 1.0;
    }
    if (total > 8.0 * double(px.size())) return;  // hardly anything in most of them
    for (int d = 0; d < 3; ++d) count[d] = static_cast<int>((high[d] - low[d]) * inverse) + 1;
    first.assign(static_cast<std::size_t>(total) + 1, 0);
    for (std::size_t k = 0; k < px.size(); ++k)
      if (px[k] < far) ++first[cube(px[k], py[k], pz[k]) + 1];
    for (std::size_t c = 1; c < first.size(); ++c) first[c] += first[c - 1];
    std::vector<int> next(first.begin(), first.end() - 1);
    image.resize(first.back()), x.resize(first.back()), y.resize(first.back()), z.resize(first.back());
    for (std::size_t k = 0; k < px.size(); ++k) {
      if (!(px[k] < far)) continue;
      const int at = next[cube(px[k], py[k], pz[k])]++;
      image[at] = static_cast<int>(k), x[at] = px[k], y[at] = py[k], z[at] = pz[k];
    }
  }

  // Calls f(begin, end) for what may be closer to a point than the cut-off, in runs.
  template <class F>
  void near(double px, double py, double pz, F&& f) const {
    const int cx = along(0, px), cy = along(1, py), cz = along(2, pz);
    const int from = std::max(cz - 1, 0), to = std::min(cz + 1, count[2] - 1);
    for (int ix = std::max(cx - 1, 0); ix <= std::min(cx + 1, count[0] - 1); ++ix)
      for (int iy = std::max(cy - 1, 0); iy <= std::min(cy + 1, count[1] - 1); ++iy) {
        const int row = (ix * count[1] + iy) * count[2];
        f(first[row + from], first[row + to + 1]);
      }
  }
};

// The atoms of a crystal around their centre, and their images within the cut-off of any of them.
struct Images {
  std::vector<double> home;         // (n_atoms, 3) Å, wrapped
  std::vector<double> x, y, z;      // Å
  std::vector<int> atom, at_home;   // the atom of an image; (n_atoms,) the image that is the atom itself
  std::vector<Group> groups;
  Bins bins;

  static constexpr double FAR = 1e100;  // of images that only fill a block

  // Images of the atoms in `order`, in groups of one kind or, when `by_atom`, of one atom. False when there are too
  // many.
  bool list(const Lattice& lattice, const double* positions, int n_atoms, const std::vector<int>& order,
            const std::vector<int>& kinds, double cutoff, bool by_atom) {
    double centre[3] = {0.0, 0.0, 0.0}, reach = 0.0;
    Box box;
    for (int i = 0; i < 3 * n_atoms; ++i) centre[i % 3] += positions[i] / n_atoms;
    home.resize(3 * n_atoms);
    for (int i = 0; i < n_atoms; ++i) {
      for (int d = 0; d < 3; ++d) home[3 * i + d] = positions[3 * i + d] - centre[d];
      wrap(lattice, &home[3 * i]);
      reach = std::fmax(reach, along(lattice, &home[3 * i], box));
    }
    reach += cutoff;
    for (int b = 0; b < 3; ++b) box.low[b] -= cutoff, box.high[b] += cutoff;
    std::int64_t budget = MOST_IMAGES + 200 * std::int64_t(n_atoms);
    x.clear(), y.clear(), z.clear(), atom.clear(), groups.clear();
    at_home.assign(n_atoms, -1);
    for (int at = 0; at < n_atoms; ++at) {
      const int j = order[at];
      if (at == 0 || by_atom || kinds[j] != groups.back().kind) {
        const int block = static_cast<int>(x.size()) / WIDTH;
        groups.push_back({kinds[j], block, block, 0});
      }
      const double* const own = &home[3 * j];
      const bool found = each_image(lattice, own, reach, box, budget, [&](const double* shift) {
        if (shift[0] == 0.0 && shift[1] == 0.0 && shift[2] == 0.0) at_home[j] = static_cast<int>(x.size());
        x.push_back(own[0] + shift[0]), y.push_back(own[1] + shift[1]), z.push_back(own[2] + shift[2]);
        atom.push_back(j);
      });
      if (!found || at_home[j] < 0) return false;
      if (at + 1 == n_atoms || by_atom || kinds[order[at + 1]] != kinds[j]) {
        while (x.size() % WIDTH) x.push_back(FAR), y.push_back(FAR), z.push_back(FAR), atom.push_back(j);
        groups.back().last = static_cast<int>(x.size()) / WIDTH;
      }
    }
    bins.sort(x, y, z, FAR, cutoff);
    return true;
  }
};

// The neighbours of one centre, in groups padded to whole blocks.
struct Shell {
  Buffer<double> memory;
  Buffer<int> atoms, chosen;
  double *x = nullptr, *y = nullptr, *z = nullptr;  // Å, from the centre
  int* atom = nullptr;
  int count = 0;  // with the padding

  void reserve(int groups) {
    const std::size_t most = MOST_NEIGHBOURS + WIDTH + std::size_t(groups) * WIDTH;
    x = memory.need(3 * most);
    y = x + most;
    z = y + most;
    atom = atoms.need(most);
    chosen.need(most);
  }

  // The images closer to atom i than the cut-off. False when there are too many, or two atoms in one place.
  bool find(const Images& images, int i, double cutoff, std::vector<Group>& groups, int most) {
    const double cx = images.home[3 * i], cy = images.home[3 * i + 1], cz = images.home[3 * i + 2];
    const double reach2 = cutoff * cutoff;
    int* hits = chosen.get();
    groups.clear();
    count = 0;
    int left = most + 1, found = 0;
    if (images.bins.on()) {
      const Bins& bins = images.bins;
      bins.near(cx, cy, cz, [&](int k, const int end) {
        for (; k < end && found <= left; ++k) {
          const double dx = bins.x[k] - cx, dy = bins.y[k] - cy, dz = bins.z[k] - cz;
          hits[found] = bins.image[k];
          found += dx * dx + dy * dy + dz * dz < reach2;
        }
      });
      if (found > left) return false;
      std::sort(hits, hits + found);
    }
    int* const end = hits + found;
    for (const Group& from : images.groups) {
      int n = 0;
      if (images.bins.on())
        while (hits + n < end && hits[n] < from.last * WIDTH) ++n;
      else
        for (int b = from.first; b < from.last; ++b) {
          const int k = b * WIDTH;
          const V dx = load(&images.x[k]) - cx, dy = load(&images.y[k]) - cy, dz = load(&images.z[k]) - cz;
          n += compress(dx * dx + dy * dy + dz * dz < reach2, k, hits + n);
          if (n > left) return false;
        }
      left -= n;
      const int first = count;
      bool touching = false;
      for (int h = 0; h < n; ++h) {
        const int k = hits[h];
        if (k == images.at_home[i]) continue;
        const double dx = images.x[k] - cx, dy = images.y[k] - cy, dz = images.z[k] - cz;
        touching |= dx * dx + dy * dy + dz * dz < 1e-12;
        x[count] = dx, y[count] = dy, z[count] = dz;
        atom[count++] = images.atom[k];
      }
      if (touching) return false;
      if (images.bins.on()) hits += n;
      groups.push_back({from.kind, first / WIDTH, 0, count - first});
      for (; count % WIDTH; ++count) {  // bonds which count for nothing, see Centre::weights
        x[count] = y[count] = 0.0;
        z[count] = 0.5 * cutoff;
        atom[count] = i;
      }
      groups.back().last = count / WIDTH;
    }
    return true;
  }
};

}  // namespace outcrop
