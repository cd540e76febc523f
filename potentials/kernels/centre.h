// One centre: radial functions and harmonics of its neighbours, their moments, and the way back to the bonds.
//
// Neighbours come in blocks of four; a block holds everything known of its four in consecutive rows of vectors.
#pragma once

#include "interface.h"
#include "harmonics.h"
#include "neighbours.h"
#include "simd.h"

namespace outcrop {

// N radial functions at least, angular order up to L.
template <int N, int L>
struct Centre {
  using H = Harmonics<L>;
  using P = Packing<L>;
  static constexpr int MOMENTS = N * P::VECTORS;  // vectors of one element's moments
  static constexpr int EVEN = (H::ROWS + 1) / 2 * 2;
  enum Row { UX, UY, UZ, R, INVERSE, PUSH, HARMONIC, RADIAL = HARMONIC + EVEN };  // then g_k, dg_k/dr for every k

  const Density shape;
  const int n_radial;  // functions computed
  const int stride;    // vectors of a block
  const P& packing;
  Buffer<V> memory;
  Shell shell;

  explicit Centre(const Density& s)
      : shape(s), n_radial(s.n_pair > N ? s.n_pair : N), stride(RADIAL + 2 * n_radial), packing(P::only()) {}

  V* block(int b) const { return memory.get() + std::size_t(b) * stride; }

  void prepare(const Group* groups, int n_groups) {
    memory.need(std::size_t(shell.count / WIDTH) * stride);
    for (int g = 0; g < n_groups; ++g)
      for (int b = groups[g].first; b < groups[g].last; ++b) fill(b, groups[g]);
  }

  // {1, 1, 0, 0}-like weights: bonds added to fill a block count for nothing.
  static OUTCROP_INLINE V weights(int real) {
    return V{1.0, real > 1 ? 1.0 : 0.0, real > 2 ? 1.0 : 0.0, real > 3 ? 1.0 : 0.0};
  }

  void fill(int which, const Group& group) {
    V* const b = block(which);
    const V x = load(shell.x + which * WIDTH), y = load(shell.y + which * WIDTH), z = load(shell.z + which * WIDTH);
    const V r = square_root(x * x + y * y + z * z), inverse = 1.0 / r;
    const V ux = x * inverse, uy = y * inverse, uz = z * inverse;
    b[UX] = ux;
    b[UY] = uy;
    b[UZ] = uz;
    b[R] = r;
    b[INVERSE] = inverse;
    b[PUSH] = splat(0.0);

    const H harmonics(ux, uy, uz);
    b[HARMONIC + EVEN - 1] = splat(0.0);
    H::each([&](auto slot, auto l) OUTCROP_LAMBDA {
      const V azimuth = harmonics.template azimuth<slot>();
      const V polynomial = harmonics.template polynomial<slot, l>();
      b[HARMONIC + H::row(slot, l)] = slot == 0 ? polynomial : (l == (slot + 1) / 2 ? azimuth : polynomial * azimuth);
    });

    // with half = (pi r/Rc - pi/2)/2: sin(pi r/Rc) = cos(2 half), cos(pi r/Rc) = -sin(2 half)
    V s, c;
    sine_cosine((r * (1.0 / shape.cutoff) - 0.5) * (M_PI / 2), s, c);
    const V sine = 1.0 - 2.0 * s * s, cosine = -2.0 * s * c;
    const double step = M_PI / shape.cutoff;
    const V w = weights(group.neighbours - (which - group.first) * WIDTH) * std::sqrt(2.0 / shape.cutoff);
    const V fade = w * (0.5 + 0.5 * cosine) * inverse;                    // sqrt(2/Rc) fc/r
    const V slope = (-0.5 * step * w * sine - fade) * inverse;            // its derivative
    // k-fold angles by recursion: fade sin(k a), fade cos(k a), slope sin(k a)
    const V twice = 2.0 * cosine;
    V g0 = splat(0.0), g1 = fade * sine, h0 = fade, h1 = fade * cosine, p0 = splat(0.0), p1 = slope * sine;
    for (int k = 0; k < n_radial; ++k) {
      b[RADIAL + 2 * k] = g1;
      b[RADIAL + 2 * k + 1] = (step * (k + 1)) * h1 + p1;
      const V g2 = twice * g1 - g0, h2 = twice * h1 - h0, p2 = twice * p1 - p0;
      g0 = g1, g1 = g2, h0 = h1, h1 = h2, p0 = p1, p1 = p2;
    }
  }

  // (n_pair,) two-body sums of a group
  void two_body(const Group& group, double* result) const {
    for (int k = 0; k < shape.n_pair; k += WIDTH) {
      V a[WIDTH] = {};
      const int most = shape.n_pair - k < WIDTH ? shape.n_pair - k : WIDTH;
      for (int b = group.first; b < group.last; ++b)
        for (int j = 0; j < most; ++j) a[j] += block(b)[RADIAL + 2 * (k + j)];
      const V total = sums(a[0], a[1], a[2], a[3]);
      for (int j = 0; j < most; ++j) result[k + j] = total[j];
    }
  }

  // (N, VECTORS) moments of a group, normed
  void add_up(const Group& group, V* result) const {
    constexpr int AT_ONCE = N > 6 ? 1 : 2;  // harmonics: what the registers hold
    V raw[EVEN + 1][N];
    for (int n = 0; n < N; ++n) raw[H::ROWS][n] = splat(0.0);
    for (int row = 0; row < H::ROWS; row += AT_ONCE) {
      V a[AT_ONCE][N] = {};
      const V* b = block(group.first);
      for (int left = group.last - group.first; left > 0; --left, b += stride) {
        repeat<AT_ONCE>([&](auto i) OUTCROP_LAMBDA {
          const V y = b[HARMONIC + row + i];
          repeat<N>([&](auto n) OUTCROP_LAMBDA { a[i][n] += b[RADIAL + 2 * n] * y; });
        });
      }
      for (int i = 0; i < AT_ONCE; ++i)
        for (int n = 0; n < N; ++n) raw[row + i][n] = a[i][n];
    }
    for (int n = 0; n < N; ++n) raw[H::ROWS][n] = splat(0.0);
    for (int v = 0; v < P::VECTORS; ++v) {
      const int* row = packing.row[v];
      for (int n = 0; n < N; ++n) {
        const V total = sums(raw[row[0]][n], raw[row[1]][n], raw[row[2]][n], raw[row[3]][n]);
        result[n * P::VECTORS + v] = total * packing.norm[v];
      }
    }
  }

  // dE/d(bond) of a block, from dE/d(moments) (normed once more) and dE/d(two-body sums) of its group
  OUTCROP_INLINE void pull(int which, const V* by_moments, const double* by_sums, V& fx, V& fy, V& fz) const {
    const V* const b = block(which);
    const double* const lanes = reinterpret_cast<const double*>(by_moments);
    const V ux = b[UX], uy = b[UY], uz = b[UZ];
    const H harmonics(ux, uy, uz);
    V g[N], radial[N] = {};
    repeat<N>([&](auto n) OUTCROP_LAMBDA { g[n] = b[RADIAL + 2 * n]; });
    V gx = splat(0.0), gy = splat(0.0), gz = splat(0.0);
    repeat<H::SLOTS>([&](auto slot_) OUTCROP_LAMBDA {
      constexpr int slot = slot_, m = (slot + 1) / 2;
      V across = splat(0.0), along = splat(0.0);  // sum_l c_l Q_lm and sum_l c_l dQ_lm/dz
      repeat<L + 1 - H::lowest(slot)>([&](auto k) OUTCROP_LAMBDA {
        constexpr int l = H::lowest(slot) + k;
        const V y = b[HARMONIC + H::row(slot, l)];
        V c = splat(0.0);
        repeat<N>([&](auto n) OUTCROP_LAMBDA {
          const V weight = splat(lanes[n * P::VECTORS * WIDTH + P::place(slot, l)]);
          c += weight * g[n];
          radial[n] += weight * y;
        });
        if constexpr (m > 0) across += c * harmonics.template polynomial<slot, l>();
        if constexpr (l > m) along += c * harmonics.template slope<slot, l>();
      });
      gz += along * harmonics.template azimuth<slot>();
      if constexpr (m > 0) {
        const V s = double(m) * harmonics.s[m - 1], c = double(m) * harmonics.c[m - 1];
        if constexpr (slot % 2 == 1) {
          gx += across * c;
          gy -= across * s;
        } else {
          gx += across * s;
          gy += across * c;
        }
      }
    });
    V push = b[PUSH];
    repeat<N>([&](auto n) OUTCROP_LAMBDA { push += radial[n] * b[RADIAL + 2 * n + 1]; });
    for (int k = 0; k < shape.n_pair; ++k) push += by_sums[k] * b[RADIAL + 2 * k + 1];
    const V inverse = b[INVERSE];
    push -= (gx * ux + gy * uy + gz * uz) * inverse;
    fx = push * ux + gx * inverse;
    fy = push * uy + gy * inverse;
    fz = push * uz + gz * inverse;
  }
};

}  // namespace outcrop
