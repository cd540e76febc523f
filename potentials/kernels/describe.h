// Features of one crystal, and their derivatives by positions and strain: the tables of training.
//
// The derivatives of the moments are summed over the images of an atom before the products are formed, so that the
// work on products follows the atoms of the cell and not the neighbours.
#pragma once

#include <limits>
#include <vector>

#include "crystal.h"
#include "density.h"
#include "neighbours.h"
#include "products.h"

namespace outcrop {

constexpr int STRAINS = 6;  // Voigt order

// One crystal's table (n, D) and slopes (n, D, 3 n + 9) or null; NaN where it cannot be described.
template <class Tables>
void describe(Tables& tables, const Batch& batch, std::int64_t c, int n_species, double* table, double* slopes) {
  const Sizes sizes = tables.sizes;
  const Crystal it(batch, c, sizes, n_species);
  const std::size_t D = sizes.features(n_species), n = it.n_atoms;
  bool done = it.sound && tables.prepare(it, slopes != nullptr);
  for (std::size_t i = 0; i < n && done; ++i)
    done = tables.centre(it, static_cast<int>(i), table + i * D, slopes ? slopes + i * D * (3 * n + 9) : nullptr);
  if (done) return;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t x = 0; x < n * D; ++x) table[x] = nan;
  for (std::size_t x = 0; slopes && x < n * D * (3 * n + 9); ++x) slopes[x] = nan;
}

// column (3 n + 6, plan.length) of one centre as its slopes (D, 3 n + 9)
inline void write_slopes(const Plan& plan, int n, const double* column, double* slopes) {
  static const int voigt[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
  const std::size_t length = plan.length, width = 3 * n + 9;
  for (const Block& b : plan.blocks) {
    for (int d = 0; d < b.size; ++d) {
      double* const row = slopes + std::size_t(b.table + d) * width;
      const double* const from = column + b.start + d;
      for (int x = 0; x < 3 * n; ++x) row[x] = from[x * length];
      for (int x = 0; x < 9; ++x) row[3 * n + x] = from[(3 * n + voigt[x]) * length];
    }
  }
}

inline void write_features(const Plan& plan, const double* features, double* table) {
  for (const Block& b : plan.blocks)
    for (int d = 0; d < b.size; ++d) table[b.table + d] = features[b.start + d];
}

template <int N, int L>
struct DensityTables {
  using C = DensityCentre<N, L>;
  using H = Harmonics<L>;
  using P = Packing<L>;

  const Density& shape;
  const Sizes sizes;
  C around;
  Buffer<V> raw, by_atom, by_strain;
  Buffer<double> f, sums_by_atom, sums_by_strain, columns;
  Images images;
  std::vector<Group> groups, of_kind;

  explicit DensityTables(const Density& s) : shape(s), sizes(s.sizes()), around(s) {}

  bool prepare(const Crystal& it, bool by_atom) {
    around.shell.reserve(by_atom ? it.n_atoms : it.n_kinds());
    return images.list(it.lattice, it.positions, it.n_atoms, it.order, it.kinds, shape.cutoff, by_atom);
  }

  bool centre(const Crystal& it, int i, double* table, double* slopes) {
    if (!around.shell.find(images, i, shape.cutoff, groups, MOST_NEIGHBOURS)) return false;
    around.prepare(groups.data(), static_cast<int>(groups.size()));
    of_kind.clear();  // the groups of atoms joined to groups of elements; padding inside counts for nothing
    for (const Group& g : groups) {
      if (of_kind.empty() || of_kind.back().kind != g.kind) of_kind.push_back(g);
      of_kind.back().last = g.last;
    }
    const Plan& plan = it.plans[it.kinds[i]];
    double* const features = f.need(plan.length);
    around.describe(of_kind.data(), it.n_kinds(), plan, features);
    write_features(plan, features, table);
    if (slopes) derive(it, i, plan, slopes);
    return true;
  }

 private:
  void derive(const Crystal& it, int i, const Plan& plan, double* slopes) {
    const int n = it.n_atoms, n_kinds = it.n_kinds(), pair = shape.n_pair;
    const std::size_t length = plan.length;
    V* const strained = by_strain.need(n_kinds * STRAINS * C::MOMENTS);
    double* const strained_sums = sums_by_strain.need(n_kinds * STRAINS * pair);
    V* const moved = by_atom.need(3 * C::MOMENTS);
    double* const moved_sums = sums_by_atom.need(3 * pair);
    V* const bare = raw.need((3 + STRAINS) * (H::ROWS + 1) * N);
    double* const column = columns.need((3 * n + STRAINS) * length);
    for (std::size_t x = 0; x < (3 * n + STRAINS) * length; ++x) column[x] = 0.0;
    for (int x = 0; x < n_kinds * STRAINS * pair; ++x) strained_sums[x] = 0.0;

    for (int at = 0; at < n; ++at) {
      const int j = it.order[at], y = it.kinds[j];
      const bool begins = at == 0 || it.kinds[it.order[at - 1]] != y;
      const bool ends = at + 1 == n || it.kinds[it.order[at + 1]] != y;
      accumulate(groups[at], begins, bare, moved_sums, strained_sums + y * STRAINS * pair);
      if (j != i) {  // an atom moves with its own images
        pack(bare, 3, moved);
        for (int d = 0; d < 3; ++d) {
          double* const own = column + (3 * j + d) * length;
          for (int k = 0; k < pair; ++k) own[plan.sums[y] + k] = moved_sums[d * pair + k];
          products(plan, n_kinds, y, moved + d * C::MOMENTS, own);
          double* const back = column + (3 * i + d) * length;
          for (std::size_t x = 0; x < length; ++x) back[x] -= own[x];
        }
      }
      if (ends) pack(bare + 3 * (H::ROWS + 1) * N, STRAINS, strained + y * STRAINS * C::MOMENTS);
    }
    for (int s = 0; s < STRAINS; ++s) {
      double* const own = column + (3 * n + s) * length;
      for (int y = 0; y < n_kinds; ++y) {
        for (int k = 0; k < pair; ++k) own[plan.sums[y] + k] = strained_sums[(y * STRAINS + s) * pair + k];
        products(plan, n_kinds, y, strained + (y * STRAINS + s) * C::MOMENTS, own);
      }
    }
    write_slopes(plan, n, column, slopes);
  }

  // Derivatives of the bare moments by the bonds of one atom, bare (3, ROWS + 1, N), and added up by strain,
  // bare + 3 ... (6, ROWS + 1, N); the same of the two-body sums.
  void accumulate(const Group& group, bool begins, V* bare, double* moved_sums, double* strained_sums) {
    constexpr int PLANE = (H::ROWS + 1) * N;
    const int planes = begins ? 3 + STRAINS : 3;
    for (int x = 0; x < planes * PLANE; ++x) bare[x] = splat(0.0);
    for (int x = 0; x < 3 * shape.n_pair; ++x) moved_sums[x] = 0.0;
    for (int which = group.first; which < group.last; ++which) {
      const V* const b = around.block(which);
      const V u[3] = {b[C::UX], b[C::UY], b[C::UZ]}, r = b[C::R], inverse = b[C::INVERSE];
      const V half[3] = {0.5 * r * u[0], 0.5 * r * u[1], 0.5 * r * u[2]};
      const H harmonics(u[0], u[1], u[2]);
      H::each([&](auto slot, auto l) OUTCROP_LAMBDA {
        constexpr int row = H::row(slot, l), m = (slot + 1) / 2;
        const V y = b[C::HARMONIC + row];
        V g[3] = {splat(0.0), splat(0.0), harmonics.template slope<slot, l>() * harmonics.template azimuth<slot>()};
        if constexpr (m > 0) {
          const V q = double(m) * harmonics.template polynomial<slot, l>();
          g[0] = slot % 2 ? q * harmonics.c[m - 1] : q * harmonics.s[m - 1];
          g[1] = slot % 2 ? -q * harmonics.s[m - 1] : q * harmonics.c[m - 1];
        }
        const V along = g[0] * u[0] + g[1] * u[1] + g[2] * u[2];
        V turn[3], push[3];
        for (int d = 0; d < 3; ++d) turn[d] = (g[d] - along * u[d]) * inverse, push[d] = y * u[d];
        for (int n = 0; n < N; ++n) {
          const V value = b[C::RADIAL + 2 * n], slope = b[C::RADIAL + 2 * n + 1];
          V t[3];
          for (int d = 0; d < 3; ++d) t[d] = slope * push[d] + value * turn[d];
          V* const to = bare + row * N + n;
          for (int d = 0; d < 3; ++d) {
            to[d * PLANE] += t[d];
            to[(3 + d) * PLANE] += 2.0 * t[d] * half[d];
          }
          to[6 * PLANE] += t[1] * half[2] + t[2] * half[1];
          to[7 * PLANE] += t[0] * half[2] + t[2] * half[0];
          to[8 * PLANE] += t[0] * half[1] + t[1] * half[0];
        }
      });
      for (int k = 0; k < shape.n_pair; ++k) {
        const V slope = b[C::RADIAL + 2 * k + 1];
        static const int first[STRAINS] = {0, 1, 2, 1, 0, 0}, second[STRAINS] = {0, 1, 2, 2, 2, 1};
        for (int d = 0; d < 3; ++d) moved_sums[d * shape.n_pair + k] += sum(slope * u[d]);
        for (int s = 0; s < STRAINS; ++s)
          strained_sums[s * shape.n_pair + k] += sum(slope * u[first[s]] * u[second[s]] * r);
      }
    }
  }

  // (planes, ROWS + 1, N) sums over four lanes -> (planes, N, VECTORS) normed moments
  void pack(const V* bare, int planes, V* packed) const {
    for (int p = 0; p < planes; ++p, bare += (H::ROWS + 1) * N, packed += C::MOMENTS) {
      for (int v = 0; v < P::VECTORS; ++v) {
        const int* row = around.packing.row[v];
        for (int n = 0; n < N; ++n) {
          const V total = sums(bare[row[0] * N + n], bare[row[1] * N + n], bare[row[2] * N + n], bare[row[3] * N + n]);
          packed[n * P::VECTORS + v] = total * around.packing.norm[v];
        }
      }
    }
  }

  // column += change of the products when the moments of y change by `change`
  void products(const Plan& plan, int n_kinds, int y, const V* change, double* column) const {
    const V* const all = around.moments.get();
    for (int z = 0; z < n_kinds; ++z) {
      const double factor = z == y ? 2.0 : 1.0;
      Products<N, L>::add_mixed(shape.n_max, change, all + z * C::MOMENTS, factor,
                                column + plan.products[y * n_kinds + z]);
    }
  }
};

}  // namespace outcrop
