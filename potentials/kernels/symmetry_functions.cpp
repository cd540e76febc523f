// The symmetry functions' entries of the compiled kernel.
#include "symmetry_functions.h"

#include "evaluate.h"
#include "symmetry_tables.h"
#include "threads.h"

namespace outcrop {

void evaluate(const SymmetryFunctions& functions, const Network& network, const Batch& batch, const Results& results,
              int n_threads) {
  using Memory = Evaluation<SymmetryCentre>;
  over_crystals(
      batch.n_crystals, n_threads, [&] { return std::make_unique<Memory>(functions, network); },
      [&](Memory& memory, std::int64_t c) { memory.crystal(batch, c, results); });
}

void features(const SymmetryFunctions& functions, int n_species, const Batch& batch, double* table, double* slopes,
              int n_threads) {
  const std::size_t D = functions.sizes().features(n_species);
  const std::vector<std::size_t> starts = slope_starts(batch, D);
  over_crystals(
      batch.n_crystals, n_threads, [&] { return std::make_unique<SymmetryTables>(functions); },
      [&](SymmetryTables& memory, std::int64_t c) {
        describe(memory, batch, c, n_species, table + batch.offsets[c] * D, slopes ? slopes + starts[c] : nullptr);
      });
}

}  // namespace outcrop
