// Which block of threads computes which tile. Plain arithmetic, tested exhaustively.
#pragma once
#include <cstdint>

namespace moe::cuda::gemm {

struct TileAt {
  int64_t down, across;
};

/// Tiles are walked in bands of `band` tile rows, down each column of the band: neighbours in time share rows of a and columns
/// of b, which the second-level cache then reads once.
constexpr TileAt tileAt(int64_t index, int64_t down, int64_t across, int64_t band = 8) {
  const int64_t perBand = band * across, first = index / perBand * band;
  const int64_t height = down - first < band ? down - first : band;
  return {first + index % perBand % height, index % perBand / height};
}

/// Tiles of `size` rows that a group of `rows` rows needs.
constexpr int64_t tilesOf(int64_t rows, int64_t size) { return (rows + size - 1) / size; }

/// Most row tiles that `groups` groups of `rows` rows in all can need, however they are cut.
constexpr int64_t mostTiles(int64_t rows, int64_t groups, int64_t size) { return rows / size + (groups < rows ? groups : rows) + 1; }

}  // namespace moe::cuda::gemm
