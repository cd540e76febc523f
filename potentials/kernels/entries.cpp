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

void lay_tiles(Network& it, const double* weights) {
  const int real = it.members * it.hidden, D = it.sizes.features(it.n_species);
  const std::vector<char> everything(it.n_species, 1);
  for (int s = 0; s < it.n_species; ++s) {
    for (const Block& block : blocks_of(s, everything, it.sizes)) {
      each_tile(padded(block.size) / WIDTH, [&](auto width, int at) {
        for (int lane = 0; lane < it.lanes; ++lane) {
          for (int d = at * WIDTH; d < (at + width) * WIDTH; ++d) {
            const std::size_t from = (std::size_t(s) * D + block.table + d) * real + lane;
            it.weights.push_back(lane < real && d < block.size ? weights[from] : 0.0);
          }
        }
      });
    }
    if (s == 0) it.species_stride = it.weights.size();
  }
}

}  // namespace

Network pack(const Descriptor& descriptor, const Arrays& a, const Repulsion& repulsion) {
  Network it{};
  it.descriptor = descriptor;
  it.sizes = sizes_of(descriptor);
  it.n_species = a.n_species, it.members = a.members, it.hidden = a.hidden, it.lanes = padded(a.members * a.hidden);
  it.repulsion = repulsion;
  lay_tiles(it, a.weights);
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
  return it;
}

}  // namespace outcrop
