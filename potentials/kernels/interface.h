// The compiled kernel: what crosses the border between the binding (module.cpp) and the numbers.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace outcrop {

// What both descriptors have for a centre: sums over neighbours of one element, and over pairs of them.
struct Sizes {
  int sums, products;
  int features(int n_species) const { return n_species * sums + n_species * (n_species + 1) / 2 * products; }
};

// of one centre element
inline int n_blocks(int n_species) { return 1 + (n_species - 1) + (n_species - 1) * (n_species - 2) / 2; }

// potentials/features/density.py
struct Density {
  double cutoff;  // Å
  int n_max, l_max, n_pair;
  Sizes sizes() const { return {n_pair, n_max * (n_max + 1) / 2 * l_max}; }
};

// potentials/features/symmetry_functions.py
struct Radial {
  double eta, centre;  // 1/Å², Å
};
constexpr int MOST_DOUBLINGS = 6;  // zeta = 64
struct Angular {
  int eta;          // place in `etas`
  int doublings;    // zeta = 2^doublings
  bool sharp;       // lambda = +1, else -1
};
struct SymmetryFunctions {
  double cutoff;  // Å
  std::vector<Radial> radial;
  std::vector<double> etas;  // 1/Å², distinct, of the angular functions
  std::vector<Angular> angular;
  Sizes sizes() const { return {int(radial.size()), int(angular.size())}; }
};

using Descriptor = std::variant<Density, SymmetryFunctions>;

inline Sizes sizes_of(const Descriptor& it) {
  return std::visit([](const auto& d) { return d.sizes(); }, it);
}

// Of close pairs; formulas and constants in repulsion.py.
struct Repulsion {
  bool on;  // screened nuclear repulsion
  double amplitudes[4], rates[4];
  double length, power, inner, outer, coulomb;
  std::vector<double> charges, radii;  // (n_species,)
  double core_energy;                  // eV; 0 without cores
  std::vector<double> cores;           // (n_species,) Å
};

// Embedded-atom potential under the networks; formulas in embedded.py. Sums of cubes c (x - r)³ below x.
struct Knotted {
  std::vector<double> knots, factors;  // Å, c; as long as each other
};
struct EmbeddedAtoms {
  bool on = false;
  double least_density;
  int degree;                             // 3 or 4
  std::vector<Knotted> halves, densities;  // (n_species, n_species) half of phi, eV/Å^degree; rho, 1/Å^degree
  std::vector<double> embedding;          // (n_species, 4) strength, linear, square, free
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

// A second hidden layer; `units` is padded to a multiple of four with zeros.
struct SecondLayer {
  int units = 0;                // padded; 0 where there is none
  std::vector<double> weights;  // (n_species, members, hidden, units)
  std::vector<double> biases;   // (n_species, members, units)
};

// Units that see one block of features each, v (tanh(b + w f) - tanh(b)); `lanes` is padded as below, 0 without any.
struct AddedUnits {
  int units = 0, lanes = 0;      // of one member; members times units, padded
  std::size_t species_stride;    // doubles of weights of one centre element
  std::vector<double> weights;   // tiles as those of the network
  std::vector<double> biases, at_rest, outputs;  // (n_species, n_blocks, lanes); at_rest = tanh(biases)
};

// A network of its own for centres that see the elements y and z, or y alone, and no other; see potentials/network.py.
struct Refined {
  int y, z;                     // places in the library, y < z; z = -1: y alone
  std::vector<double> weights;  // tiles of the blocks {x}, {x, y}, and with z {x, z}, {x, y, z}
  int starts[4];                // of these blocks, in padded features
  std::vector<double> biases, outputs, shifts;  // (lanes,), (lanes,), (members,)
};

// Networks of a library. Weights lie in tiles (see network.h); lanes are padded to a multiple of four with zeros.
struct Network {
  Descriptor descriptor;
  Sizes sizes;
  int n_species, members, hidden, lanes;
  std::size_t species_stride;  // doubles of weights of one centre element
  std::vector<double> weights, biases;  // (n_species, ...), (n_species, lanes)
  SecondLayer second;
  std::vector<double> outputs;  // (n_species, lanes), or (n_species, members, second.units)
  std::vector<double> shifts;   // (n_species, members)
  AddedUnits added;
  double sight = 0.0;                         // first sum of an element from which on it is fully seen
  std::vector<std::vector<Refined>> refined;  // (n_species, ...)
  Repulsion repulsion;
  EmbeddedAtoms embedded;
};

// One refined network as in potentials/network.py: centre, y, z, rows of its blocks and what stands on them.
struct RefinedArrays {
  int centre, y, z;
  const double *weights, *biases, *outputs, *shifts;
};

// The arrays of a model as in potentials/network.py; `second` and `added` are numbers of units, 0 without them.
struct Arrays {
  int n_species, members, hidden, second, added;
  const double *weights, *biases, *second_weights, *second_biases, *outputs, *shifts;
  const double *added_weights, *added_biases, *added_outputs;
  double sight;
  std::vector<RefinedArrays> refined;
};
Network pack(const Descriptor& descriptor, const Arrays& arrays, const Repulsion& repulsion, const EmbeddedAtoms&);

struct Results {
  double* members;   // (n_crystals, members) eV
  double* forces;    // (n_atoms, 3) eV/Å
  double* stresses;  // (n_crystals, 3, 3) eV/Å³
  double* atomic;    // (n_atoms,) eV
};

void evaluate(const Network& network, const Batch& batch, const Results& results, int n_threads);

// potentials/kernels/gupta.py
struct GuptaPair {
  double amplitude, p, strength, q, r0, inner, outer;  // eV, 1, eV, 1, Å, Å, Å
};
struct Gupta {
  int n_species;
  double cutoff;                 // Å
  std::vector<GuptaPair> pairs;  // (n_species, n_species)
};
void evaluate(const Gupta& gupta, const Batch& batch, const Results& results, int n_threads);

// table (n_atoms, D); slopes, unless null, crystal after crystal (n_c, D, 3 n_c + 9). Both must be zero at entry.
void features(const Descriptor& descriptor, int n_species, const Batch& batch, double* table, double* slopes,
              int n_threads);

// The same for one descriptor each, in files of their own.
void evaluate(const Density& density, const Network&, const Batch&, const Results&, int n_threads);
void features(const Density& density, int n_species, const Batch&, double* table, double* slopes, int n_threads);
void evaluate(const SymmetryFunctions& functions, const Network&, const Batch&, const Results&, int n_threads);
void features(const SymmetryFunctions& functions, int n_species, const Batch&, double* table, double* slopes,
              int n_threads);

}  // namespace outcrop
