// The Python module potentials.kernels._kernel: arrays of potentials/kernels/compiled.py to interface.h and back.
// This file is built for any processor of its kind, so that `supported` can answer where the others could not run.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <tuple>
#include <vector>

#include "interface.h"

namespace nb = nanobind;
using namespace outcrop;

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using In = Array<const double>;
using Out = Array<double>;

namespace {

void expect(bool right, const char* what) {
  if (!right) throw std::invalid_argument(what);
}

struct Crystals {
  Array<const std::int64_t> kinds;
  In positions, cells;
  Array<const std::uint8_t> periodic;
  Array<const std::int64_t> offsets;

  // checked, because a wrong number here would be read as memory
  Batch batch(int n_species) const {
    const std::size_t n_atoms = kinds.size(), n = offsets.size() - 1;
    expect(offsets.size() > 0 && positions.size() == 3 * n_atoms && cells.size() == 9 * n && periodic.size() == 3 * n,
           "the arrays of a batch do not fit together");
    expect(offsets.data()[0] == 0 && std::size_t(offsets.data()[n]) == n_atoms, "`offsets` must run from 0 to n_atoms");
    for (std::size_t c = 0; c < n; ++c) expect(offsets.data()[c] < offsets.data()[c + 1], "`offsets` must ascend");
    for (std::size_t i = 0; i < n_atoms; ++i)
      expect(kinds.data()[i] >= 0 && kinds.data()[i] < n_species, "`kinds` must be places in the library");
    return {std::int64_t(n), offsets.data(), kinds.data(), positions.data(), cells.data(), periodic.data()};
  }
};

void make_density(Density* self, double cutoff, int n_max, int l_max, int n_pair) {
  new (self) Density{cutoff, n_max, l_max, n_pair};
}

// radial: eta, centre; angular: place of eta, log2 of zeta, lambda
void make_functions(SymmetryFunctions* self, double cutoff, const std::vector<std::tuple<double, double>>& radial,
                    const std::vector<double>& etas, const std::vector<std::tuple<int, int, int>>& angular) {
  SymmetryFunctions it{cutoff, {}, etas, {}};
  for (const auto& [eta, centre] : radial) it.radial.push_back({eta, centre});
  for (const auto& [eta, doublings, lambda] : angular) {
    expect(eta >= 0 && std::size_t(eta) < etas.size() && doublings >= 0 && doublings <= MOST_DOUBLINGS &&
               (lambda == 1 || lambda == -1),
           "an angular function is a place among `etas`, log2 of zeta, and lambda");
    it.angular.push_back({eta, doublings, lambda == 1});
  }
  new (self) SymmetryFunctions(std::move(it));
}

Repulsion repulsion_of(bool screened, double core_energy, const In& charges, const In& radii, const In& cores,
                       const In& amplitudes, const In& rates,
                       const std::tuple<double, double, double, double, double>& constants) {
  const std::size_t n = charges.size();
  expect(radii.size() == n && cores.size() == n && amplitudes.size() == 4 && rates.size() == 4,
         "the arrays of a repulsion do not fit together");
  Repulsion it{};
  it.on = screened;
  for (int k = 0; k < 4; ++k) it.amplitudes[k] = amplitudes.data()[k], it.rates[k] = rates.data()[k];
  std::tie(it.length, it.power, it.inner, it.outer, it.coulomb) = constants;
  it.charges.assign(charges.data(), charges.data() + n);
  it.radii.assign(radii.data(), radii.data() + n);
  it.core_energy = core_energy;
  it.cores.assign(cores.data(), cores.data() + n);
  return it;
}

// pair knots, pairs, density knots, densities, embedding; all empty where there is none
using EmbeddedIn = std::tuple<In, In, In, In, In, int>;

std::vector<Knotted> powers_of(const In& knots, const In& factors, std::size_t n_pairs, double factor) {
  expect(knots.size() == factors.size() && knots.size() % n_pairs == 0, "the knots of `embedded` do not fit the factors");
  const std::size_t n = knots.size() / n_pairs;
  std::vector<Knotted> found(n_pairs);
  for (std::size_t x = 0; x < knots.size(); ++x) {
    found[x / n].knots.push_back(knots.data()[x]);
    found[x / n].factors.push_back(factor * factors.data()[x]);
  }
  return found;
}

EmbeddedAtoms embedded_of(const EmbeddedIn& in, double least_density, std::size_t n) {
  EmbeddedAtoms it{};
  const auto& [pair_knots, pairs, density_knots, densities, embedding, degree] = in;
  it.on = embedding.size() > 0;
  if (!it.on) return it;
  expect(embedding.size() == 4 * n, "`embedding` must have four numbers for each element");
  expect(degree == 3 || degree == 4, "the degree of `embedded` must be 3 or 4");
  it.degree = degree;
  it.least_density = least_density;
  it.halves = powers_of(pair_knots, pairs, n * n, 0.5);
  it.densities = powers_of(density_knots, densities, n * n, 1.0);
  it.embedding.assign(embedding.data(), embedding.data() + 4 * n);
  return it;
}

// centre, y, z, weights, biases, outputs, shifts
using RefinedIn = std::tuple<int, int, int, In, In, In, In>;

void make_network(Network* self, const Descriptor& descriptor, const Repulsion& repulsion, int members, int hidden,
                  int second, int added, const In& weights, const In& biases, const In& second_weights,
                  const In& second_biases, const In& outputs, const In& shifts, const In& added_weights,
                  const In& added_biases, const In& added_outputs, double sight, const std::vector<RefinedIn>& refined,
                  const EmbeddedIn& embedded, double least_density) {
  const std::size_t n = repulsion.charges.size(), networks = n * members, lanes = networks * hidden;
  const std::size_t last = networks * (second ? second : hidden);
  const std::size_t D = sizes_of(descriptor).features(int(n)), blocks = n_blocks(int(n));
  expect(members > 0 && hidden > 0 && second >= 0 && added >= 0 && weights.size() == lanes * D &&
             biases.size() == lanes && added_weights.size() == networks * added * D &&
             added_biases.size() == networks * added * blocks && added_outputs.size() == networks * added * blocks &&
             second_weights.size() == lanes * second && second_biases.size() == networks * second &&
             outputs.size() == last && shifts.size() == networks,
         "the arrays of a model do not fit together");
  std::vector<RefinedArrays> nets;
  for (const auto& [x, y, z, w, b, v, e] : refined) {
    const bool triple = z >= 0;
    expect(!second && sight > 0.0 && x >= 0 && x < int(n) && y >= 0 && y < int(n) && z < int(n) && y != x && z != x &&
               (!triple || y < z) && w.size() == std::size_t(sizes_of(descriptor).features(triple ? 3 : 2)) * members * hidden &&
               b.size() == std::size_t(members) * hidden && v.size() == b.size() && e.size() == std::size_t(members),
           "the arrays of a refined network do not fit together");
    nets.push_back({x, y, z, w.data(), b.data(), v.data(), e.data()});
  }
  const Arrays arrays{int(n),         members,
                      hidden,         second, added,
                      weights.data(), biases.data(),
                      second_weights.data(), second_biases.data(),
                      outputs.data(), shifts.data(),
                      added_weights.data(), added_biases.data(), added_outputs.data(),
                      sight,          nets};
  new (self) Network(pack(descriptor, arrays, repulsion, embedded_of(embedded, least_density, n)));
}

// pairs (n_species, n_species, 7)
void make_gupta(Gupta* self, int n_species, const In& pairs) {
  expect(n_species > 0 && pairs.size() == 7 * std::size_t(n_species) * n_species, "`pairs` must have shape (n, n, 7)");
  Gupta it{n_species, 0.0, {}};
  for (int k = 0; k < n_species * n_species; ++k) {
    const double* p = pairs.data() + 7 * k;
    it.pairs.push_back({p[0], p[1], p[2], p[3], p[4], p[5], p[6]});
    it.cutoff = p[6] > it.cutoff ? p[6] : it.cutoff;
  }
  new (self) Gupta(std::move(it));
}

// For a network or a Gupta potential of so many members.
template <class Model>
void evaluate_batch(const Model& model, int n_members, Array<const std::int64_t> kinds, In positions, In cells,
                    Array<const std::uint8_t> periodic, Array<const std::int64_t> offsets, Out members, Out forces,
                    Out stresses, Out atomic, int n_threads) {
  const Batch batch = Crystals{kinds, positions, cells, periodic, offsets}.batch(model.n_species);
  expect(members.size() == std::size_t(batch.n_crystals) * n_members && forces.size() == positions.size() &&
             stresses.size() == cells.size() && atomic.size() == kinds.size(),
         "the arrays for the results do not fit the batch");
  const Results results{members.data(), forces.data(), stresses.data(), atomic.data()};
  nb::gil_scoped_release release;
  evaluate(model, batch, results, n_threads);
}

}  // namespace

NB_MODULE(_kernel, m) {
  m.def("supported", [] {
#if defined(OUTCROP_NEEDS_AVX512)
    return bool(__builtin_cpu_supports("avx512f")) && bool(__builtin_cpu_supports("avx512vl"));
#elif defined(OUTCROP_NEEDS_AVX2)
    return bool(__builtin_cpu_supports("avx2")) && bool(__builtin_cpu_supports("fma"));
#else
    return true;
#endif
  });

  nb::class_<Density>(m, "Density").def("__init__", &make_density);
  nb::class_<SymmetryFunctions>(m, "SymmetryFunctions").def("__init__", &make_functions);
  nb::class_<Repulsion>(m, "Repulsion");
  m.def("repulsion", &repulsion_of);
  nb::class_<Network>(m, "Network").def("__init__", &make_network);

  nb::class_<Gupta>(m, "Gupta").def("__init__", &make_gupta);

  m.def("evaluate", [](const Network& network, Array<const std::int64_t> kinds, In positions, In cells,
                       Array<const std::uint8_t> periodic, Array<const std::int64_t> offsets, Out members, Out forces,
                       Out stresses, Out atomic, int n_threads) {
    evaluate_batch(network, network.members, kinds, positions, cells, periodic, offsets, members, forces, stresses,
                   atomic, n_threads);
  });
  m.def("evaluate_gupta", [](const Gupta& gupta, Array<const std::int64_t> kinds, In positions, In cells,
                             Array<const std::uint8_t> periodic, Array<const std::int64_t> offsets, Out members,
                             Out forces, Out stresses, Out atomic, int n_threads) {
    evaluate_batch(gupta, 1, kinds, positions, cells, periodic, offsets, members, forces, stresses, atomic, n_threads);
  });

  m.def("features", [](const Descriptor& descriptor, int n_species, Array<const std::int64_t> kinds, In positions, In cells,
                       Array<const std::uint8_t> periodic, Array<const std::int64_t> offsets, Out table, Out slopes,
                       int n_threads) {
    const Batch batch = Crystals{kinds, positions, cells, periodic, offsets}.batch(n_species);
    const std::size_t D = sizes_of(descriptor).features(n_species);
    std::size_t needed = 0;
    for (std::int64_t c = 0; c < batch.n_crystals; ++c) {
      const std::size_t n = batch.offsets[c + 1] - batch.offsets[c];
      needed += n * D * (3 * n + 9);
    }
    expect(table.size() == kinds.size() * D && (slopes.size() == 0 || slopes.size() == needed),
           "the arrays for the results do not fit the batch");
    double* const wanted = slopes.size() ? slopes.data() : nullptr;
    nb::gil_scoped_release release;
    features(descriptor, n_species, batch, table.data(), wanted, n_threads);
  });
}
