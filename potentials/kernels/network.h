// One hidden layer for all committee members at once: lanes are members times hidden units.
//
// The weights of a centre element lie in tiles, in the order in which both passes read them: a block of features is
// cut into tiles of up to eight vectors of four features; a tile holds, lane after lane, its vectors.
#pragma once

#include <vector>

#include "density.h"
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
  V* partial;     // (lanes,) sums over features, four at a time
  double* units;  // (lanes,) v tanh, then dE/d(input of the unit)

  explicit Layer(const Network& n) : network(n) {
    partial = memory.need(n.lanes + n.lanes / WIDTH);
    units = reinterpret_cast<double*>(partial + n.lanes);
  }

  // energies (members,) of one atom; prepares `units` for `pull`
  void forward(const Plan& plan, int kind, const double* f, double* energies) const {
    const int lanes = network.lanes;
    for (int lane = 0; lane < lanes; ++lane) partial[lane] = splat(0.0);
    for (const Block& block : plan.blocks) {
      const double* w = network.weights.data() + kind * network.species_stride + std::size_t(block.packed) * lanes;
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
    const double *biases = network.biases.data() + kind * lanes, *outputs = network.outputs.data() + kind * lanes;
    const double share = 1.0 / network.members;
    double out[4];
    const double* shifts = network.shifts.data() + kind * network.members;
    for (int m = 0; m < network.members; ++m) energies[m] = shifts[m];
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
  }
};

}  // namespace outcrop
