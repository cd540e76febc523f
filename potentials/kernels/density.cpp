// The density descriptor's entries of the compiled kernel: the choice of the templates.
#include "density.h"

#include <stdexcept>
#include <type_traits>

#include "describe.h"
#include "evaluate.h"
#include "threads.h"

namespace outcrop {
namespace {

template <int N, class F>
void choose_order(const Density& shape, F&& f) {
  constexpr std::integral_constant<int, N> n;
  switch (shape.l_max) {
    case 1: return f(n, std::integral_constant<int, 1>{});
    case 2: return f(n, std::integral_constant<int, 2>{});
    case 3: return f(n, std::integral_constant<int, 3>{});
    case 4: return f(n, std::integral_constant<int, 4>{});
    case 5: return f(n, std::integral_constant<int, 5>{});
    default: throw std::invalid_argument("`l_max` must be between 1 and 5");
  }
}

// f(N, L): N is n_max or the next number there is code for.
template <class F>
void choose(const Density& shape, F&& f) {
  if (shape.n_max < 1 || shape.n_max > 8) throw std::invalid_argument("`n_max` must be between 1 and 8");
  if (shape.n_max <= 3) return choose_order<3>(shape, f);
  if (shape.n_max == 4) return choose_order<4>(shape, f);
  if (shape.n_max == 5) return choose_order<5>(shape, f);
  if (shape.n_max == 6) return choose_order<6>(shape, f);
  choose_order<8>(shape, f);
}

}  // namespace

void evaluate(const Density& density, const Network& network, const Batch& batch, const Results& results,
              int n_threads) {
  choose(density, [&](auto n, auto l) {
    using Memory = Evaluation<DensityCentre<n, l>>;
    over_crystals(
        batch.n_crystals, n_threads, [&] { return std::make_unique<Memory>(density, network); },
        [&](Memory& memory, std::int64_t c) { memory.crystal(batch, c, results); });
  });
}

void features(const Density& density, int n_species, const Batch& batch, double* table, double* slopes,
              int n_threads) {
  const std::size_t D = density.sizes().features(n_species);
  const std::vector<std::size_t> starts = slope_starts(batch, D);
  choose(density, [&](auto n, auto l) {
    using Memory = DensityTables<n, l>;
    over_crystals(
        batch.n_crystals, n_threads, [&] { return std::make_unique<Memory>(density); },
        [&](Memory& memory, std::int64_t c) {
          describe(memory, batch, c, n_species, table + batch.offsets[c] * D, slopes ? slopes + starts[c] : nullptr);
        });
  });
}

}  // namespace outcrop
