// Which block of threads computes which tile. Plain arithmetic, tested exhaustively.
#pragma once
#include <cstdint>

namespace moe::cuda::gemm {

struct TileAt {
  int64_t down, across;
};

/// Tiles are walked in bands of `band` tile rows, down each column of the band: neighbours in time share rows of a and columns
/// of b, which the second-level cache then reads once. A grid has fewer than 2^31 tiles.
constexpr TileAt tileAt(uint32_t index, uint32_t down, uint32_t across, uint32_t band = 8) {
  const uint32_t perBand = band * across, first = index / perBand * band, within = index % perBand;
  const uint32_t height = down - first < band ? down - first : band;
  return {first + within % height, within / height};
}

/// Tiles of `size` rows that a group of `rows` rows needs.
constexpr int64_t tilesOf(int64_t rows, int64_t size) { return (rows + size - 1) / size; }

/// Most row tiles that `groups` groups of `rows` rows in all can need, however they are cut.
constexpr int64_t mostTiles(int64_t rows, int64_t groups, int64_t size) { return rows / size + (groups < rows ? groups : rows) + 1; }

}  // namespace moe::cuda::gemm
