// Gupta potentials; the formula is stated in potentials/kernels/gupta.py.
#include <cmath>
#include <memory>

#include "crystal.h"
#include "interface.h"
#include "neighbours.h"
#include "results.h"
#include "simd.h"
#include "threads.h"

namespace outcrop {
namespace {

struct GuptaSweep {
  const Gupta& gupta;
  Shell shell;
  Images images;
  std::vector<Group> groups;
  Buffer<V> slopes;  // (blocks, 2) d/dr of the repulsion, of the square of the attraction

  explicit GuptaSweep(const Gupta& g) : gupta(g) {}

  void crystal(const Batch& batch, std::int64_t c, const Results& results) {
    const std::int64_t first = batch.offsets[c];
    const Crystal it(batch, c, {0, 0}, gupta.n_species);
    if (!sweep(it, results.members[c], results.forces + 3 * first, results.stresses + 9 * c, results.atomic + first))
      write_nan(results, batch, c, 1);
  }

 private:
  bool sweep(const Crystal& it, double& energy, double* forces, double* stress, double* atomic) {
    if (!it.sound) return false;
    shell.reserve(it.n_kinds());
    if (!images.list(it.lattice, it.positions, it.n_atoms, it.order, it.kinds, gupta.cutoff, false)) return false;
    energy = 0.0;
    for (int x = 0; x < 3 * it.n_atoms; ++x) forces[x] = 0.0;
    V virial[6] = {};
    for (int i = 0; i < it.n_atoms; ++i) {
      if (!shell.find(images, i, gupta.cutoff, groups, MOST_NEIGHBOURS)) return false;
      V* const slope = slopes.need(2 * std::size_t(shell.count / WIDTH));
      V repulsion = splat(0.0), square = splat(0.0);
      for (int y = 0; y < it.n_kinds(); ++y) {
        const GuptaPair& pair = gupta.pairs[it.elements[it.kinds[i]] * gupta.n_species + it.elements[y]];
        for (int b = groups[y].first; b < groups[y].last; ++b) bonds(pair, groups[y], b, slope, repulsion, square);
      }
      const double attraction = std::sqrt(sum(square)), half = attraction > 0.0 ? 0.5 / attraction : 0.0;
      atomic[i] = sum(repulsion) - attraction;
      energy += atomic[i];
      for (int y = 0; y < it.n_kinds(); ++y) {
        pull_group(groups[y], shell.atom, i, forces, virial, [&](int b, V* at, V* f) {
          at[0] = load(shell.x + b * WIDTH), at[1] = load(shell.y + b * WIDTH), at[2] = load(shell.z + b * WIDTH);
          const V r = square_root(at[0] * at[0] + at[1] * at[1] + at[2] * at[2]);
          const V push = (slope[2 * b] - half * slope[2 * b + 1]) / r;
          for (int d = 0; d < 3; ++d) f[d] = push * at[d];
        });
      }
    }
    write_stress(it, virial, stress);
    return true;
  }

  void bonds(const GuptaPair& pair, const Group& group, int b, V* slope, V& repulsion, V& square) const {
    const V x = load(shell.x + b * WIDTH), y = load(shell.y + b * WIDTH), z = load(shell.z + b * WIDTH);
    const V r = square_root(x * x + y * y + z * z), off = r / pair.r0 - 1.0;
    const int real = group.neighbours - (b - group.first) * WIDTH;
    const V weight{1.0, real > 1 ? 1.0 : 0.0, real > 2 ? 1.0 : 0.0, real > 3 ? 1.0 : 0.0};
    const double width = pair.outer - pair.inner;
    V t = (r - pair.inner) / width, s, c;
    t = t < 0.0 ? splat(0.0) : t;
    t = t > 1.0 ? splat(1.0) : t;
    sine_cosine((t - 0.5) * (M_PI / 2), s, c);  // half of the angle less pi/2
    const V fade = weight * (0.5 - s * c), fall = weight * (-0.5 * M_PI / width) * (1.0 - 2.0 * s * s);
    const V a = pair.amplitude * exponential<-700>(-pair.p * off);
    const V e = pair.strength * pair.strength * exponential<-700>(-2.0 * pair.q * off);
    repulsion += a * fade;
    square += e * fade;
    slope[2 * b] = a * (fall - pair.p / pair.r0 * fade);
    slope[2 * b + 1] = e * (fall - 2.0 * pair.q / pair.r0 * fade);
  }
};

}  // namespace

void evaluate(const Gupta& gupta, const Batch& batch, const Results& results, int n_threads) {
  over_crystals(
      batch.n_crystals, n_threads, [&] { return std::make_unique<GuptaSweep>(gupta); },
      [&](GuptaSweep& sweep, std::int64_t c) { sweep.crystal(batch, c, results); });
}

}  // namespace outcrop
