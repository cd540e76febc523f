// The Python module potentials.kernels._density: arrays of potentials/kernels/compiled.py to density.h and back.
// This file is built for any processor of its kind, so that `supported` can answer where density.cpp could not run.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <stdexcept>
#include <tuple>

#include "density.h"

namespace nb = nanobind;
using namespace outcrop;

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using In = Array<const double>;
using Out = Array<double>;
using Numbers = std::tuple<double, int, int, int>;

namespace {

Shape shape_of(const Numbers& numbers) {
  const auto [cutoff, n_max, l_max, n_pair] = numbers;
  return {cutoff, n_max, l_max, n_pair};
}

void expect(bool right, const char* what) {
  if (!right) throw std::invalid_argument(what);
}

struct Arrays {
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

void make_network(Network* self, const Numbers& numbers, int members, int hidden, bool repels, const In& weights,
                  const In& biases, const In& outputs, const In& shifts, const In& charges, const In& radii,
                  const In& amplitudes, const In& rates,
                  const std::tuple<double, double, double, double, double>& constants) {
  const Shape shape = shape_of(numbers);
  const std::size_t n = charges.size(), lanes = std::size_t(members) * hidden;
  expect(radii.size() == n && weights.size() == n * shape.features(int(n)) * lanes && biases.size() == n * lanes &&
             outputs.size() == n * lanes && shifts.size() == n * members && amplitudes.size() == 4 && rates.size() == 4,
         "the arrays of a model do not fit together");
  Repulsion repulsion{};
  repulsion.on = repels;
  for (int k = 0; k < 4; ++k) repulsion.amplitudes[k] = amplitudes.data()[k], repulsion.rates[k] = rates.data()[k];
  std::tie(repulsion.length, repulsion.power, repulsion.inner, repulsion.outer, repulsion.coulomb) = constants;
  repulsion.charges.assign(charges.data(), charges.data() + n);
  repulsion.radii.assign(radii.data(), radii.data() + n);
  new (self) Network(pack(shape, members, hidden, int(n), weights.data(), biases.data(), outputs.data(), shifts.data(),
                          repulsion));
}

}  // namespace

NB_MODULE(_density, m) {
  m.def("supported", [] {
#if defined(OUTCROP_NEEDS_AVX512)
    return bool(__builtin_cpu_supports("avx512f")) && bool(__builtin_cpu_supports("avx512vl"));
#elif defined(OUTCROP_NEEDS_AVX2)
    return bool(__builtin_cpu_supports("avx2")) && bool(__builtin_cpu_supports("fma"));
#else
    return true;
#endif
  });

  nb::class_<Network>(m, "Network").def("__init__", &make_network);

  m.def("evaluate", [](const Network& network, Array<const std::int64_t> kinds, In positions, In cells,
                       Array<const std::uint8_t> periodic, Array<const std::int64_t> offsets, Out members, Out forces,
                       Out stresses, Out atomic, int n_threads) {
    const Batch batch = Arrays{kinds, positions, cells, periodic, offsets}.batch(network.n_species);
    expect(members.size() == std::size_t(batch.n_crystals) * network.members && forces.size() == positions.size() &&
               stresses.size() == cells.size() && atomic.size() == kinds.size(),
           "the arrays for the results do not fit the batch");
    const Results results{members.data(), forces.data(), stresses.data(), atomic.data()};
    nb::gil_scoped_release release;
    evaluate(network, batch, results, n_threads);
  });

  m.def("features", [](const Numbers& numbers, int n_species, Array<const std::int64_t> kinds, In positions, In cells,
                       Array<const std::uint8_t> periodic, Array<const std::int64_t> offsets, Out table, Out slopes,
                       int n_threads) {
    const Shape shape = shape_of(numbers);
    const Batch batch = Arrays{kinds, positions, cells, periodic, offsets}.batch(n_species);
    const std::size_t D = shape.features(n_species);
    std::size_t needed = 0;
    for (std::int64_t c = 0; c < batch.n_crystals; ++c) {
      const std::size_t n = batch.offsets[c + 1] - batch.offsets[c];
      needed += n * D * (3 * n + 9);
    }
    expect(table.size() == kinds.size() * D && (slopes.size() == 0 || slopes.size() == needed),
           "the arrays for the results do not fit the batch");
    double* const wanted = slopes.size() ? slopes.data() : nullptr;
    nb::gil_scoped_release release;
    features(shape, n_species, batch, table.data(), wanted, n_threads);
  });
}
