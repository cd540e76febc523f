// Blocks of features: which of a library's blocks a crystal uses, and where they lie.
#pragma once

#include <vector>

#include "interface.h"
#include "simd.h"

namespace outcrop {

inline int padded(int n) { return (n + WIDTH - 1) / WIDTH * WIDTH; }

// The block of centre element x with other elements y and z; -1 stands for none. y < z.
struct Block {
  int y, z;       // places in the library
  int size;       // features
  int start;      // in the crystal's own, padded list of features
  int table;      // in the library's list
  int packed;     // in the library's list with every block padded: where its weights are
  int place;      // among the library's blocks of this centre
};

// The blocks of centre x whose elements are all `present`, in canonical order: {x}; {x, y}; {x, y, z}.
// For one x, the order of the sets by their sorted numbers is the order of (y, z).
inline std::vector<Block> blocks_of(int x, const std::vector<char>& present, const Sizes& sizes) {
  const int n = static_cast<int>(present.size()), pair = sizes.sums, products = sizes.products;
  std::vector<Block> chosen;
  int start = 0, table = 0, packed = 0, place = 0;
  auto add = [&](int y, int z, int size) {
    if ((y < 0 || present[y]) && (z < 0 || present[z])) {
      chosen.push_back({y, z, size, start, table, packed, place});
      start += padded(size);
    }
    table += size;
    packed += padded(size);
    ++place;
  };
  add(-1, -1, pair + products);
  for (int y = 0; y < n; ++y)
    if (y != x) add(y, -1, pair + 2 * products);
  for (int y = 0; y < n; ++y)
    for (int z = y + 1; z < n; ++z)
      if (y != x && z != x) add(y, z, products);
  return chosen;
}

// Where a centre of one element finds its features; elements are numbered within the crystal.
struct Plan {
  std::vector<Block> blocks;
  int length;                // of the padded list of features
  std::vector<int> sums;     // (n,) start of the sums over neighbours y
  std::vector<int> products; // (n, n) start of those over pairs of neighbours y and z, in either order
};

// `elements` are the places in the library of the crystal's elements, ascending; x is one of them.
inline Plan plan_of(int x, const std::vector<int>& elements, const std::vector<char>& present, const Sizes& sizes) {
  Plan plan;
  plan.blocks = blocks_of(x, present, sizes);
  const int n = static_cast<int>(elements.size());
  std::vector<int> local(present.size(), -1);
  for (int e = 0; e < n; ++e) local[elements[e]] = e;
  plan.sums.assign(n, 0);
  plan.products.assign(n * n, 0);
  auto put = [&](int y, int z, int start) {
    plan.products[local[y] * n + local[z]] = plan.products[local[z] * n + local[y]] = start;
  };
  for (const Block& b : plan.blocks) {
    if (b.z >= 0) {
      put(b.y, b.z, b.start);
    } else if (b.y >= 0) {
      plan.sums[local[b.y]] = b.start;
      put(x, b.y, b.start + sizes.sums);
      put(b.y, b.y, b.start + sizes.sums + sizes.products);
    } else {
      plan.sums[local[x]] = b.start;
      put(x, x, b.start + sizes.sums);
    }
  }
  plan.length = plan.blocks.back().start + padded(plan.blocks.back().size);
  return plan;
}

}  // namespace outcrop
