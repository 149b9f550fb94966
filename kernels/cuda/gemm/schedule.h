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

/// How the depth of a weight gradient is cut: `count` pieces of `each`, the last one shorter.
struct Pieces {
  int64_t count, each;
};

/// Of a weight gradient [m, n] that sums over k rows: as many pieces as fill the multiprocessors of a large GPU where tiles of c
/// alone leave most of them idle. Two are not worth the second pass over c. A function of the shape alone, so that the order of sums is
/// the same on every GPU and in every kernel; pieces end where steps of 64 do.
constexpr Pieces piecesOf(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kFull = 132, kLeastEach = 1024, kLeastDepth = 6 * kLeastEach, kStep = 64;
  const int64_t fitting = kFull / (tilesOf(m, 128) * tilesOf(n, 256)), deep = k / kLeastEach, wanted = fitting < deep ? fitting : deep;
  if (wanted < 3 || k < kLeastDepth) return {1, k};
  const int64_t each = tilesOf(tilesOf(k, wanted), kStep) * kStep;
  return {tilesOf(k, each), each};
}

/// Most row tiles that `groups` groups of `rows` rows in all can need, however they are cut.
constexpr int64_t mostTiles(int64_t rows, int64_t groups, int64_t size) { return rows / size + (groups < rows ? groups : rows) + 1; }

}  // namespace moe::cuda::gemm
