// The entries of the compiled kernel for either descriptor, and a model in its memory layout.
#include "interface.h"
#include "layout.h"
#include "network.h"

namespace outcrop {

void evaluate(const Network& network, const Batch& batch, const Results& results, int n_threads) {
  std::visit([&](const auto& d) { evaluate(d, network, batch, results, n_threads); }, network.descriptor);
}

void features(const Descriptor& descriptor, int n_species, const Batch& batch, double* table, double* slopes,
              int n_threads) {
  std::visit([&](const auto& d) { features(d, n_species, batch, table, slopes, n_threads); }, descriptor);
}

namespace {

// rows of `from` (n, real) with zeros up to `width`
void widen(const double* from, std::size_t n, int real, int width, std::vector<double>& to) {
  for (std::size_t row = 0; row < n; ++row)
    for (int x = 0; x < width; ++x) to.push_back(x < real ? from[row * real + x] : 0.0);
}

// weights (rows, real) of one block in tiles of `lanes` units, appended to `to`
void lay_block(const double* weights, int size, int real, int lanes, std::vector<double>& to) {
  each_tile(padded(size) / WIDTH, [&](auto width, int at) {
    for (int lane = 0; lane < lanes; ++lane)
      for (int d = at * WIDTH; d < (at + width) * WIDTH; ++d)
        to.push_back(lane < real && d < size ? weights[std::size_t(d) * real + lane] : 0.0);
  });
}

// weights (n_species, D, real) of `lanes` units in tiles, appended to `to`; returns the doubles of one centre element
std::size_t lay_tiles(const Sizes& sizes, int n_species, const double* weights, int real, int lanes,
                      std::vector<double>& to) {
  const int D = sizes.features(n_species);
  const std::vector<char> everything(n_species, 1);
  for (int s = 0; s < n_species; ++s) {
    for (const Block& block : blocks_of(s, everything, sizes))
      lay_block(weights + (std::size_t(s) * D + block.table) * real, block.size, real, lanes, to);
  }
  return to.size() / n_species;
}

Refined refined_of(const RefinedArrays& a, const Sizes& sizes, int members, int real, int lanes) {
  Refined it{a.y, a.z, {}, {}, {}, {}, {}};
  const int pair = sizes.sums + 2 * sizes.products, all[4] = {sizes.sums + sizes.products, pair, pair, sizes.products};
  int row = 0, start = 0;
  for (int b = 0; b < (a.z < 0 ? 2 : 4); ++b) {
    lay_block(a.weights + std::size_t(row) * real, all[b], real, lanes, it.weights);
    it.starts[b] = start;
    row += all[b], start += padded(all[b]);
  }
  widen(a.biases, 1, real, lanes, it.biases);
  widen(a.outputs, 1, real, lanes, it.outputs);
  it.shifts.assign(a.shifts, a.shifts + members);
  return it;
}

}  // namespace

Network pack(const Descriptor& descriptor, const Arrays& a, const Repulsion& repulsion, const EmbeddedAtoms& embedded) {
  Network it{};
  it.descriptor = descriptor;
  it.sizes = sizes_of(descriptor);
  it.n_species = a.n_species, it.members = a.members, it.hidden = a.hidden, it.lanes = padded(a.members * a.hidden);
  it.repulsion = repulsion;
  it.embedded = embedded;
  it.species_stride = lay_tiles(it.sizes, a.n_species, a.weights, a.members * a.hidden, it.lanes, it.weights);
  const std::size_t n = a.n_species, networks = n * a.members;
  widen(a.biases, n, a.members * a.hidden, it.lanes, it.biases);
  if (a.second) {
    it.second.units = padded(a.second);
    widen(a.second_weights, networks * a.hidden, a.second, it.second.units, it.second.weights);
    widen(a.second_biases, networks, a.second, it.second.units, it.second.biases);
    widen(a.outputs, networks, a.second, it.second.units, it.outputs);
  } else {
    widen(a.outputs, n, a.members * a.hidden, it.lanes, it.outputs);
  }
  it.shifts.assign(a.shifts, a.shifts + networks);
  it.sight = a.sight;
  it.refined.resize(n);
  for (const RefinedArrays& one : a.refined)
    it.refined[one.centre].push_back(refined_of(one, it.sizes, a.members, a.members * a.hidden, it.lanes));
  if (a.added) {
    AddedUnits& more = it.added;
    const int real = a.members * a.added;
    const std::size_t rows = n * n_blocks(a.n_species);
    more.units = a.added, more.lanes = padded(real);
    more.species_stride = lay_tiles(it.sizes, a.n_species, a.added_weights, real, more.lanes, more.weights);
    widen(a.added_biases, rows, real, more.lanes, more.biases);
    widen(a.added_outputs, rows, real, more.lanes, more.outputs);
    more.at_rest.resize(more.biases.size());  // by the same arithmetic, so that a unit without input adds zero
    for (std::size_t x = 0; x < more.biases.size(); x += WIDTH)
      store(more.at_rest.data() + x, hyperbolic_tangent(load(more.biases.data() + x)));
  }
  return it;
}

}  // namespace outcrop
