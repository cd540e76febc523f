// One crystal as the kernel sees it: its elements, its atoms sorted by element, its lattice, the plans of its features.
#pragma once

#include <cmath>
#include <vector>

#include "layout.h"
#include "lattice.h"

namespace outcrop {

struct Crystal {
  int n_atoms;
  const double *positions, *cell;
  bool sound;
  Lattice lattice;
  std::vector<int> elements;  // places in the library, ascending
  std::vector<char> present;  // (n_species,)
  std::vector<int> kinds;     // (n_atoms,) place in `elements`
  std::vector<int> order;     // atoms by kind
  std::vector<Plan> plans;    // by kind

  Crystal(const Batch& batch, std::int64_t c, const Sizes& sizes, int n_species)
      : n_atoms(static_cast<int>(batch.offsets[c + 1] - batch.offsets[c])),
        positions(batch.positions + 3 * batch.offsets[c]),
        cell(batch.cells + 9 * c),
        lattice(lattice_of(cell, batch.periodic + 3 * c)),
        present(n_species, 0) {
    sound = lattice.sound;
    for (int x = 0; x < 3 * n_atoms; ++x) sound = sound && std::isfinite(positions[x]);
    const std::int64_t* own = batch.kinds + batch.offsets[c];
    for (int i = 0; i < n_atoms; ++i) present[own[i]] = 1;
    std::vector<int> place(n_species, -1);
    for (int s = 0; s < n_species; ++s) {
      if (!present[s]) continue;
      place[s] = static_cast<int>(elements.size());
      elements.push_back(s);
    }
    for (int i = 0; i < n_atoms; ++i) kinds.push_back(place[own[i]]);
    for (int k = 0; k < n_kinds(); ++k)
      for (int i = 0; i < n_atoms; ++i)
        if (kinds[i] == k) order.push_back(i);
    for (int k = 0; k < n_kinds(); ++k) plans.push_back(plan_of(elements[k], elements, present, sizes));
  }

  int n_kinds() const { return static_cast<int>(elements.size()); }

  double volume() const {
    const double *a = cell, *b = cell + 3, *c = cell + 6;
    return std::abs(a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) +
                    a[2] * (b[0] * c[1] - b[1] * c[0]));
  }
};

}  // namespace outcrop
