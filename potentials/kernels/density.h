// The compiled kernel: what crosses the border between the binding (module.cpp) and the numbers (density.cpp).
#pragma once

#include <cstdint>
#include <vector>

namespace outcrop {

struct Shape {
  double cutoff;  // Å
  int n_max, l_max, n_pair;
  int products() const { return n_max * (n_max + 1) / 2 * l_max; }
  int features(int n_species) const { return n_species * n_pair + n_species * (n_species + 1) / 2 * products(); }
};

// Screened nuclear repulsion; the constants come from repulsion.py.
struct Repulsion {
  bool on;
  double amplitudes[4], rates[4];
  double length, power, inner, outer, coulomb;
  std::vector<double> charges, radii;  // (n_species,)
};

// Many crystals, concatenated; crystal c owns atoms offsets[c]..offsets[c + 1].
struct Batch {
  std::int64_t n_crystals;
  const std::int64_t* offsets;
  const std::int64_t* kinds;    // (n_atoms,) place of the element in the library
  const double* positions;      // (n_atoms, 3)
  const double* cells;          // (n_crystals, 3, 3)
  const std::uint8_t* periodic; // (n_crystals, 3)
};

// Networks of a library. Weights lie in tiles (see network.h); lanes are padded to a multiple of four with zeros.
struct Network {
  Shape shape;
  int n_species, members, hidden, lanes;
  std::size_t species_stride;           // doubles of weights of one centre element
  std::vector<double> weights, biases, outputs;  // (n_species, ...), (n_species, lanes) twice
  std::vector<double> shifts;           // (n_species, members)
  Repulsion repulsion;
};

// Weights as (n_species, D, members * hidden), the others as in potentials/network.py.
Network pack(const Shape& shape, int members, int hidden, int n_species, const double* weights, const double* biases,
             const double* outputs, const double* shifts, const Repulsion& repulsion);

struct Results {
  double* members;   // (n_crystals, members) eV
  double* forces;    // (n_atoms, 3) eV/Å
  double* stresses;  // (n_crystals, 3, 3) eV/Å³
  double* atomic;    // (n_atoms,) eV
};

void evaluate(const Network& network, const Batch& batch, const Results& results, int n_threads);

// table (n_atoms, D); slopes, unless null, crystal after crystal (n_c, D, 3 n_c + 9). Both must be zero at entry.
void features(const Shape& shape, int n_species, const Batch& batch, double* table, double* slopes, int n_threads);

}  // namespace outcrop
