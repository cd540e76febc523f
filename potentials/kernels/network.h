// The networks of all committee members at once: lanes are members times hidden units of the first layer.
//
// The weights of a centre element lie in tiles, in the order in which both passes read them: a block of features is
// cut into tiles of up to eight vectors of four features; a tile holds, lane after lane, its vectors.
#pragma once

#include <vector>

#include "interface.h"
#include "layout.h"
#include "simd.h"

namespace outcrop {

constexpr int TILE = 8;

template <class F>
OUTCROP_INLINE void each_tile(int vectors, F&& f) {
  int at = 0;
  for (; at + TILE <= vectors; at += TILE) f(std::integral_constant<int, TILE>{}, at);
  switch (vectors - at) {
    case 7: f(std::integral_constant<int, 7>{}, at); break;
    case 6: f(std::integral_constant<int, 6>{}, at); break;
    case 5: f(std::integral_constant<int, 5>{}, at); break;
    case 4: f(std::integral_constant<int, 4>{}, at); break;
    case 3: f(std::integral_constant<int, 3>{}, at); break;
    case 2: f(std::integral_constant<int, 2>{}, at); break;
    case 1: f(std::integral_constant<int, 1>{}, at); break;
    default: break;
  }
}

struct Layer {
  const Network& network;
  Buffer<V> memory;
  V* partial;        // (lanes,) sums over features, four at a time
  double *active;    // (lanes,) tanh of the first layer, where there is a second
  double *units;     // (lanes,) dE/d(input of the unit)
  double *deep;      // (second.units,) dE/d(input of the unit) of one member
  double *added;     // (blocks of the plan, added.lanes) dE/d(input of the unit)

  explicit Layer(const Network& n) : network(n) {
    const int quarter = n.lanes / WIDTH;
    const int most = n.lanes > n.added.lanes ? n.lanes : n.added.lanes;
    const int all_added = n_blocks(n.n_species) * n.added.lanes;
    partial = memory.need(most + 2 * quarter + (n.second.units + all_added) / WIDTH);
    units = reinterpret_cast<double*>(partial + most);
    active = units + n.lanes;
    deep = active + n.lanes;
    added = deep + n.second.units;
  }

  // energies (members,) of one atom; prepares `units` for `pull`
  void forward(const Plan& plan, int kind, const double* f, double* energies) const {
    const int lanes = network.lanes;
    for (int lane = 0; lane < lanes; ++lane) partial[lane] = splat(0.0);
    const double* w = network.weights.data() + kind * network.species_stride;
    for (const Block& block : plan.blocks) add_up(block, f, w + std::size_t(block.packed) * lanes, lanes);
    const double* shifts = network.shifts.data() + kind * network.members;
    for (int m = 0; m < network.members; ++m) energies[m] = shifts[m];
    if (network.second.units)
      forward_deep(kind, energies);
    else
      forward_last(kind, energies);
    if (network.added.lanes) forward_added(plan, kind, f, energies);
  }

  // partial[lane] += four sums of the products of a block's features and their weights
  void add_up(const Block& block, const double* f, const double* w, int lanes) const {
    each_tile(padded(block.size) / WIDTH, [&](auto width, int at) OUTCROP_LAMBDA {
      V x[width];
      repeat<width>([&](auto t) OUTCROP_LAMBDA { x[t] = load(f + block.start + (at + t) * WIDTH); });
      const double* tile = w + std::size_t(at) * WIDTH * lanes;
      for (int lane = 0; lane < lanes; lane += 4, tile += 4 * width * WIDTH) {
        V a[4] = {partial[lane], partial[lane + 1], partial[lane + 2], partial[lane + 3]};
        repeat<width>([&](auto t) OUTCROP_LAMBDA {
          repeat<4>([&](auto q) OUTCROP_LAMBDA { a[q] += x[t] * load(tile + (q * width + t) * WIDTH); });
        });
        repeat<4>([&](auto q) OUTCROP_LAMBDA { partial[lane + q] = a[q]; });
      }
    });
  }

  void forward_added(const Plan& plan, int kind, const double* f, double* energies) const {
    const AddedUnits& it = network.added;
    const double* w = it.weights.data() + kind * it.species_stride;
    const double share = 1.0 / network.members;
    double out[4], *slopes = added;
    for (const Block& block : plan.blocks) {
      if (block.place == 0) continue;  // an element adds none to itself
      for (int lane = 0; lane < it.lanes; ++lane) partial[lane] = splat(0.0);
      add_up(block, f, w + std::size_t(block.packed) * it.lanes, it.lanes);
      const std::size_t first = (std::size_t(kind) * n_blocks(network.n_species) + block.place) * it.lanes;
      int member = 0, left = it.units;
      for (int lane = 0; lane < it.lanes; lane += 4) {
        const V t = hyperbolic_tangent(load(it.biases.data() + first + lane) +
                                       sums(partial[lane], partial[lane + 1], partial[lane + 2], partial[lane + 3]));
        const V v = load(it.outputs.data() + first + lane);
        store(out, v * (t - load(it.at_rest.data() + first + lane)));
        store(slopes + lane, share * v * (1.0 - t * t));
        for (int q = 0; q < 4 && member < network.members; ++q) {
          energies[member] += out[q];
          if (--left == 0) ++member, left = it.units;
        }
      }
      slopes += it.lanes;
    }
  }

  void forward_last(int kind, double* energies) const {
    const int lanes = network.lanes;
    const double *biases = network.biases.data() + kind * lanes, *outputs = network.outputs.data() + kind * lanes;
    const double share = 1.0 / network.members;
    double out[4];
    int member = 0, left = network.hidden;
    for (int lane = 0; lane < lanes; lane += 4) {
      const V t = hyperbolic_tangent(
          load(biases + lane) + sums(partial[lane], partial[lane + 1], partial[lane + 2], partial[lane + 3]));
      const V v = load(outputs + lane);
      store(out, v * t);
      store(units + lane, share * v * (1.0 - t * t));
      for (int q = 0; q < 4 && member < network.members; ++q) {
        energies[member] += out[q];
        if (--left == 0) ++member, left = network.hidden;
      }
    }
  }

  void forward_deep(int kind, double* energies) const {
    const int lanes = network.lanes, hidden = network.hidden, width = network.second.units;
    const double* biases = network.biases.data() + kind * lanes;
    for (int lane = 0; lane < lanes; lane += 4) {
      store(active + lane, hyperbolic_tangent(load(biases + lane) + sums(partial[lane], partial[lane + 1],
                                                                         partial[lane + 2], partial[lane + 3])));
      store(units + lane, splat(0.0));
    }
    const double share = 1.0 / network.members;
    for (int m = 0; m < network.members; ++m) {
      const std::size_t at = std::size_t(kind) * network.members + m;
      const double *w = network.second.weights.data() + at * hidden * width, *t1 = active + m * hidden;
      const double *b = network.second.biases.data() + at * width, *outputs = network.outputs.data() + at * width;
      V energy = splat(0.0);
      for (int k = 0; k < width; k += WIDTH) {
        V a = load(b + k);
        for (int h = 0; h < hidden; ++h) a += t1[h] * load(w + h * width + k);
        const V t2 = hyperbolic_tangent(a), v = load(outputs + k);
        energy += v * t2;
        store(deep + k, share * v * (1.0 - t2 * t2));
      }
      energies[m] += sum(energy);
      for (int h = 0; h < hidden; ++h) {
        V back = splat(0.0);
        for (int k = 0; k < width; k += WIDTH) back += load(deep + k) * load(w + h * width + k);
        units[m * hidden + h] = sum(back) * (1.0 - t1[h] * t1[h]);
      }
    }
  }

  // slope (plan.length,) = dE/df of the mean over the members
  void pull(const Plan& plan, int kind, double* slope) const {
    const int lanes = network.lanes;
    for (const Block& block : plan.blocks) {
      const double* w = network.weights.data() + kind * network.species_stride + std::size_t(block.packed) * lanes;
      each_tile(padded(block.size) / WIDTH, [&](auto width, int at) OUTCROP_LAMBDA {
        V a[width];
        repeat<width>([&](auto t) OUTCROP_LAMBDA { a[t] = splat(0.0); });
        const double* tile = w + std::size_t(at) * WIDTH * lanes;
        for (int lane = 0; lane < lanes; ++lane, tile += width * WIDTH) {
          const V g = splat(units[lane]);
          repeat<width>([&](auto t) OUTCROP_LAMBDA { a[t] += g * load(tile + t * WIDTH); });
        }
        repeat<width>([&](auto t) OUTCROP_LAMBDA { store(slope + block.start + (at + t) * WIDTH, a[t]); });
      });
    }
    if (network.added.lanes) pull_added(plan, kind, slope);
  }

  // adds to slope
  void pull_added(const Plan& plan, int kind, double* slope) const {
    const AddedUnits& it = network.added;
    const double* slopes = added;
    for (const Block& block : plan.blocks) {
      if (block.place == 0) continue;
      const double* w = it.weights.data() + kind * it.species_stride + std::size_t(block.packed) * it.lanes;
      each_tile(padded(block.size) / WIDTH, [&](auto width, int at) OUTCROP_LAMBDA {
        V a[width];
        double* const to = slope + block.start + at * WIDTH;
        repeat<width>([&](auto t) OUTCROP_LAMBDA { a[t] = load(to + t * WIDTH); });
        const double* tile = w + std::size_t(at) * WIDTH * it.lanes;
        for (int lane = 0; lane < it.lanes; ++lane, tile += width * WIDTH) {
          const V g = splat(slopes[lane]);
          repeat<width>([&](auto t) OUTCROP_LAMBDA { a[t] += g * load(tile + t * WIDTH); });
        }
        repeat<width>([&](auto t) OUTCROP_LAMBDA { store(to + t * WIDTH, a[t]); });
      });
      slopes += it.lanes;
    }
  }
};

}  // namespace outcrop
