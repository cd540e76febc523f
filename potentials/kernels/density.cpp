// The entries of the compiled kernel: threads over crystals, and the choice of the templates.
#include "density.h"

#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>
#include <thread>

#include "describe.h"
#include "evaluate.h"

namespace outcrop {
namespace {

// make() gives each thread its memory; each(memory, c) handles one crystal. Crystals go to whoever is free, which
// changes no result because each is a function of itself alone.
template <class Make, class Each>
void over_crystals(std::int64_t n_crystals, int n_threads, Make&& make, Each&& each) {
  std::atomic<std::int64_t> next{0};
  auto run = [&] {
    auto memory = make();
    for (std::int64_t c = next++; c < n_crystals; c = next++) each(*memory, c);
  };
  if (n_threads > n_crystals) n_threads = static_cast<int>(n_crystals);
  if (n_threads <= 1) return run();
  std::exception_ptr failure;
  std::atomic_flag taken = ATOMIC_FLAG_INIT;
  std::vector<std::thread> threads;
  for (int t = 0; t < n_threads; ++t) {
    threads.emplace_back([&] {
      try {
        run();
      } catch (...) {
        if (!taken.test_and_set()) failure = std::current_exception();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  if (failure) std::rethrow_exception(failure);
}

template <int N, class F>
void choose_order(const Shape& shape, F&& f) {
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
void choose(const Shape& shape, F&& f) {
  if (shape.n_max < 1 || shape.n_max > 8) throw std::invalid_argument("`n_max` must be between 1 and 8");
  if (shape.n_max <= 3) return choose_order<3>(shape, f);
  if (shape.n_max == 4) return choose_order<4>(shape, f);
  if (shape.n_max == 5) return choose_order<5>(shape, f);
  if (shape.n_max == 6) return choose_order<6>(shape, f);
  choose_order<8>(shape, f);
}

}  // namespace

void evaluate(const Network& network, const Batch& batch, const Results& results, int n_threads) {
  choose(network.shape, [&](auto n, auto l) {
    using Memory = Evaluation<n, l>;
    over_crystals(
        batch.n_crystals, n_threads, [&] { return std::make_unique<Memory>(network); },
        [&](Memory& memory, std::int64_t c) { memory.crystal(batch, c, results); });
  });
}

void features(const Shape& shape, int n_species, const Batch& batch, double* table, double* slopes, int n_threads) {
  const std::size_t D = shape.features(n_species);
  std::vector<std::size_t> starts(batch.n_crystals, 0);  // of the slopes of each crystal
  for (std::int64_t c = 1; c < batch.n_crystals; ++c) {
    const std::size_t n = batch.offsets[c] - batch.offsets[c - 1];
    starts[c] = starts[c - 1] + n * D * (3 * n + 9);
  }
  choose(shape, [&](auto n, auto l) {
    using Memory = Description<n, l>;
    over_crystals(
        batch.n_crystals, n_threads, [&] { return std::make_unique<Memory>(shape, n_species); },
        [&](Memory& memory, std::int64_t c) {
          memory.crystal(batch, c, table + batch.offsets[c] * D, slopes ? slopes + starts[c] : nullptr);
        });
  });
}

Network pack(const Shape& shape, int members, int hidden, int n_species, const double* weights, const double* biases,
             const double* outputs, const double* shifts, const Repulsion& repulsion) {
  Network it{shape, n_species, members, hidden, padded(members * hidden), 0, {}, {}, {}, {}, repulsion};
  const int real = members * hidden, D = shape.features(n_species);
  const std::vector<char> everything(n_species, 1);
  for (int s = 0; s < n_species; ++s) {
    for (const Block& block : blocks_of(s, everything, shape)) {
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
    for (int lane = 0; lane < it.lanes; ++lane) {
      it.biases.push_back(lane < real ? biases[s * real + lane] : 0.0);
      it.outputs.push_back(lane < real ? outputs[s * real + lane] : 0.0);
    }
  }
  it.shifts.assign(shifts, shifts + n_species * members);
  return it;
}

}  // namespace outcrop
