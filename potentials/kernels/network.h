// The networks of all committee members at once: lanes are members times hidden units of the first layer.
//
// The weights of a centre element lie in tiles, in the order in which both passes read them: a block of features is
// cut into tiles of up to eight vectors of four features; a tile holds, lane after lane, its vectors.
#pragma once

#include <algorithm>
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

// A network that speaks for a centre: one of those refined for a set of elements, or the one that all sets share.
struct Voice {
  const Refined* refined;  // null: the shared one
  double share, energy;    // of the centre's energy; eV, mean over the members
};

// How much a centre sees of another element: 0 without neighbours, 1 from `sight` on.
struct View {
  int y, start;         // place in the library; of its first sum in the list of features
  double seen, slope;   // slope: by the sum
  bool within(const Refined& it) const { return y == it.y || y == it.z; }
};

struct Layer {
  const Network& network;
  Buffer<V> memory;
  V* partial;        // (lanes,) sums over features, four at a time
  double *active;    // (lanes,) tanh of the first layer, where there is a second
  double *units;     // (voices, lanes) dE/d(input of the unit)
  double *deep;      // (second.units,) dE/d(input of the unit) of one member
  double *added;     // (blocks of the plan, added.lanes) dE/d(input of the unit)

  Buffer<double> spoken;  // (members,) of one of several voices
  std::vector<Voice> voices;
  std::vector<View> views;

  explicit Layer(const Network& n) : network(n) {
    const int quarter = n.lanes / WIDTH;
    std::size_t more = 0;
    for (const auto& nets : n.refined) more = std::max(more, nets.size());
    const int most = n.lanes > n.added.lanes ? n.lanes : n.added.lanes;
    const int all_added = n_blocks(n.n_species) * n.added.lanes;
    partial = memory.need(most + (2 + int(more)) * quarter + (n.second.units + all_added) / WIDTH);
    units = reinterpret_cast<double*>(partial + most);
    active = units + (1 + more) * n.lanes;
    deep = active + n.lanes;
    added = deep + n.second.units;
  }

  // energies (members,) of one atom; prepares what `pull` needs
  void forward(const Plan& plan, int kind, const double* f, double* energies) {
    listen(plan, kind, f);
    if (voices.size() == 1) {
      speak(plan, kind, voices[0].refined, f, units, energies);
    } else {
      for (int m = 0; m < network.members; ++m) energies[m] = 0.0;
      for (std::size_t v = 0; v < voices.size(); ++v) add_voice(plan, kind, f, voices[v], units + v * network.lanes, energies);
    }
    if (network.added.lanes) forward_added(plan, kind, f, energies);
  }

  // which networks speak for this centre
  void listen(const Plan& plan, int kind, const double* f) {
    voices.clear();
    views.clear();
    const std::vector<Refined>& nets = network.refined[kind];
    for (const Block& block : plan.blocks) {
      if (nets.empty() || block.y < 0 || block.z >= 0) continue;
      const double u = f[block.start] / network.sight;
      if (u >= 1.0)
        views.push_back({block.y, block.start, 1.0, 0.0});
      else  // 10 u³ - 15 u⁴ + 6 u⁵
        views.push_back({block.y, block.start, u * u * u * (10.0 - u * (15.0 - 6.0 * u)),
                         30.0 * u * u * (1.0 - u) * (1.0 - u) / network.sight});
    }
    double rest = 1.0;
    for (const Refined& it : nets) {
      const double share = share_of(it, nullptr);
      if (share == 0.0) continue;
      voices.push_back({&it, share, 0.0});
      rest -= share;
    }
    // where shares are about to change the shared network is heard, whatever rounding has left for it
    const bool changing = std::any_of(views.begin(), views.end(), [](const View& view) { return view.slope != 0.0; });
    if (rest > 0.0 || voices.empty() || changing) voices.push_back({nullptr, rest, 0.0});
  }

  // product over the other elements of what is seen, or not seen, of each; `without` one of them
  double share_of(const Refined& it, const View* without) const {
    int found = 0;
    double share = 1.0;
    for (const View& view : views) {
      const bool within = view.within(it);
      found += within;
      if (&view != without) share *= within ? view.seen : 1.0 - view.seen;
    }
    return found == (it.z < 0 ? 1 : 2) ? share : 0.0;
  }

  void add_voice(const Plan& plan, int kind, const double* f, Voice& voice, double* own_units, double* energies) {
    double* const own = spoken.need(network.members);
    speak(plan, kind, voice.refined, f, own_units, own);
    for (int m = 0; m < network.members; ++m) {
      energies[m] += voice.share * own[m];
      voice.energy += own[m] / network.members;
    }
    for (int lane = 0; lane < network.lanes; ++lane) own_units[lane] *= voice.share;
  }

  // energies (members,) by one network; `refined` is null for the shared one
  void speak(const Plan& plan, int kind, const Refined* refined, const double* f, double* own_units, double* energies) const {
    const int lanes = network.lanes;
    for (int lane = 0; lane < lanes; ++lane) partial[lane] = splat(0.0);
    for (const Block& block : plan.blocks) add_up(block, f, tiles(block, kind, refined), lanes);
    const double* shifts = refined ? refined->shifts.data() : network.shifts.data() + kind * network.members;
    for (int m = 0; m < network.members; ++m) energies[m] = shifts[m];
    if (network.second.units)
      forward_deep(kind, own_units, energies);
    else
      forward_last(refined ? refined->biases.data() : network.biases.data() + kind * lanes,
                   refined ? refined->outputs.data() : network.outputs.data() + kind * lanes, own_units, energies);
  }

  // the weights of a block: a refined network has its own for the blocks of its elements
  const double* tiles(const Block& block, int kind, const Refined* refined) const {
    int place = -1;
    if (refined && block.y < 0) place = 0;
    else if (refined && block.z < 0) place = block.y == refined->y ? 1 : block.y == refined->z ? 2 : -1;
    else if (refined && block.y == refined->y && block.z == refined->z) place = 3;
    if (place >= 0) return refined->weights.data() + std::size_t(refined->starts[place]) * network.lanes;
    return network.weights.data() + kind * network.species_stride + std::size_t(block.packed) * network.lanes;
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

  void forward_last(const double* biases, const double* outputs, double* own_units, double* energies) const {
    const int lanes = network.lanes;
    const double share = 1.0 / network.members;
    double out[4];
    int member = 0, left = network.hidden;
    for (int lane = 0; lane < lanes; lane += 4) {
      const V t = hyperbolic_tangent(
          load(biases + lane) + sums(partial[lane], partial[lane + 1], partial[lane + 2], partial[lane + 3]));
      const V v = load(outputs + lane);
      store(out, v * t);
      store(own_units + lane, share * v * (1.0 - t * t));
      for (int q = 0; q < 4 && member < network.members; ++q) {
        energies[member] += out[q];
        if (--left == 0) ++member, left = network.hidden;
      }
    }
  }

  void forward_deep(int kind, double* own_units, double* energies) const {
    const int lanes = network.lanes, hidden = network.hidden, width = network.second.units;
    const double* biases = network.biases.data() + kind * lanes;
    for (int lane = 0; lane < lanes; lane += 4) {
      store(active + lane, hyperbolic_tangent(load(biases + lane) + sums(partial[lane], partial[lane + 1],
                                                                         partial[lane + 2], partial[lane + 3])));
      store(own_units + lane, splat(0.0));
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
        own_units[m * hidden + h] = sum(back) * (1.0 - t1[h] * t1[h]);
      }
    }
  }

  // slope (plan.length,) = dE/df of the mean over the members
  void pull(const Plan& plan, int kind, double* slope) {
    for (std::size_t v = 0; v < voices.size(); ++v)
      pull_voice(plan, kind, voices[v].refined, units + v * network.lanes, v > 0, slope);
    if (voices.size() > 1) pull_views(slope);
    if (network.added.lanes) pull_added(plan, kind, slope);
  }

  void pull_voice(const Plan& plan, int kind, const Refined* refined, const double* own_units, bool more, double* slope) const {
    const int lanes = network.lanes;
    for (const Block& block : plan.blocks) {
      const double* w = tiles(block, kind, refined);
      each_tile(padded(block.size) / WIDTH, [&](auto width, int at) OUTCROP_LAMBDA {
        V a[width];
        double* const to = slope + block.start + at * WIDTH;
        repeat<width>([&](auto t) OUTCROP_LAMBDA { a[t] = more ? load(to + t * WIDTH) : splat(0.0); });
        const double* tile = w + std::size_t(at) * WIDTH * lanes;
        for (int lane = 0; lane < lanes; ++lane, tile += width * WIDTH) {
          const V g = splat(own_units[lane]);
          repeat<width>([&](auto t) OUTCROP_LAMBDA { a[t] += g * load(tile + t * WIDTH); });
        }
        repeat<width>([&](auto t) OUTCROP_LAMBDA { store(to + t * WIDTH, a[t]); });
      });
    }
  }

  // adds to slope: shares change with what is seen of an element
  void pull_views(double* slope) {
    double shared = 0.0;
    for (const Voice& voice : voices)
      if (!voice.refined) shared = voice.energy;
    for (View& view : views) {
      if (view.slope == 0.0) continue;
      double by_seen = 0.0;
      for (const Voice& voice : voices)
        if (voice.refined)
          by_seen += (view.within(*voice.refined) ? 1.0 : -1.0) * share_of(*voice.refined, &view) * (voice.energy - shared);
      slope[view.start] += by_seen * view.slope;
    }
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
