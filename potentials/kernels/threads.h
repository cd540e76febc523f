// Crystals handed out to threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "interface.h"

namespace outcrop {

// Where the slopes of each crystal begin, with D features of an atom.
inline std::vector<std::size_t> slope_starts(const Batch& batch, std::size_t D) {
  std::vector<std::size_t> starts(batch.n_crystals, 0);
  for (std::int64_t c = 1; c < batch.n_crystals; ++c) {
    const std::size_t n = batch.offsets[c] - batch.offsets[c - 1];
    starts[c] = starts[c - 1] + n * D * (3 * n + 9);
  }
  return starts;
}

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
  auto careful = [&] {
    try {
      run();
    } catch (...) {
      if (!taken.test_and_set()) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(n_threads - 1);
  for (int t = 1; t < n_threads; ++t) {
    try {
      threads.emplace_back(careful);
    } catch (const std::system_error&) {  // the machine gives no more of them: those that are there do it all
      break;
    }
  }
  careful();
  for (std::thread& t : threads) t.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace outcrop
