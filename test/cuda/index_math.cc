// Index mathematics of the CUDA kernels, checked for every value that can occur. Built and run by index_math.test.ts; most of it
// is done while compiling. Prints nothing and returns 0 when all holds.
#include <cstdio>
#include <initializer_list>

#include "../../kernels/cuda/gemm/schedule.h"
#include "../../kernels/cuda/prefix.h"
#include "../../kernels/machine/fragment.h"
#include "../../kernels/moments.h"

using namespace moe;
using cuda::gemm::mostTiles;
using cuda::gemm::Pieces;
using cuda::gemm::piecesOf;
using cuda::gemm::tileAt;
using cuda::gemm::TileAt;
using cuda::gemm::tilesOf;

namespace {

/// Every element of a fragment has exactly one owner.
template <int rows, int cols, int each, class F> constexpr bool covers(F place) {
  int owners[rows][cols] = {};
  for (int lane = 0; lane < 32; lane++)
    for (int e = 0; e < each; e++) {
      const fragment::Place p = place(lane, e);
      if (p.row < 0 || p.row >= rows || p.col < 0 || p.col >= cols) return false;
      owners[p.row][p.col]++;
    }
  for (auto& row : owners)
    for (int n : row)
      if (n != 1) return false;
  return true;
}
static_assert(covers<16, 16, 8>(fragment::a));
static_assert(covers<16, 8, 4>([](int lane, int e) { return fragment::Place{fragment::b(lane, e).row, fragment::b(lane, e).col}; }));
static_assert(covers<16, 8, 4>(fragment::c));

/// ldmatrix .x4 from the addresses of a fragment delivers that fragment: register r of a lane holds what the fragment's map says.
constexpr bool deliversA(bool kFirst) {
  for (int lane = 0; lane < 32; lane++)
    for (int e = 0; e < 8; e++) {
      const int matrix = e / 2;
      const fragment::Place got = fragment::received(lane, e % 2, kFirst);
      const fragment::Place named = fragment::addressA(matrix * 8 + got.row, kFirst);
      const int row = named.row, col = named.col * 8 + got.col;  // in the tile as it is stored
      const fragment::Place want = fragment::a(lane, e);
      if (kFirst ? (row != want.col || col != want.row) : (row != want.row || col != want.col)) return false;
    }
  return true;
}
constexpr bool deliversB(bool kFirst) {
  for (int lane = 0; lane < 32; lane++)
    for (int e = 0; e < 8; e++) {
      const int matrix = e / 2, block = e / 4;
      const fragment::Place got = fragment::received(lane, e % 2, kFirst);
      const fragment::Place named = fragment::addressB(matrix * 8 + got.row, kFirst);
      const int row = named.row, col = named.col * 8 + got.col;
      const fragment::Place want = fragment::b(lane, e % 4);  // (k, n) within its block of 8 columns
      if (kFirst ? (row != want.row || col != want.col + 8 * block) : (row != want.col + 8 * block || col != want.row)) return false;
    }
  return true;
}
static_assert(deliversA(false) && deliversA(true) && deliversB(false) && deliversB(true));

/// A swizzle moves chunks within their row, and the eight rows of an ldmatrix meet eight different groups of banks.
constexpr bool swizzles(int chunks) {
  for (int row = 0; row < 64; row++) {
    bool taken[64] = {};
    for (int c = 0; c < chunks; c++) {
      const int at = fragment::swizzle(row, c, chunks);
      if (at < 0 || at >= chunks || taken[at]) return false;
      taken[at] = true;
    }
  }
  for (int first = 0; first < 64; first += 8)
    for (int c = 0; c < chunks; c++) {
      bool taken[8] = {};
      for (int row = first; row < first + 8; row++) {
        const int group = (row * chunks + fragment::swizzle(row, c, chunks)) % 8;
        if (taken[group]) return false;
        taken[group] = true;
      }
    }
  return true;
}
static_assert(swizzles(1) && swizzles(2) && swizzles(4) && swizzles(8) && swizzles(16) && swizzles(24) && swizzles(32) && swizzles(64));

/// A warpgroup's accumulators of a product [64 x 128].
constexpr bool accumulates() {
  bool owned[64][128] = {};
  for (int thread = 0; thread < 128; thread++)
    for (int i = 0; i < 64; i++) {
      const fragment::Place p = fragment::accumulator(thread, i);
      if (p.row < 0 || p.row >= 64 || p.col < 0 || p.col >= 128 || owned[p.row][p.col]) return false;
      owned[p.row][p.col] = true;
    }
  return true;
}
static_assert(accumulates());

/// Both ways to say where a chunk of a tile of 128-byte lines lies agree, for every row of a box and every begin of a step along k.
constexpr bool linesAgree() {
  for (int row = 0; row < 256; row++)
    for (int byte = 0; byte < 128; byte++)
      if (fragment::swizzledByte(row * 128 + byte) != row * 128 + fragment::swizzle(row, byte / 16, 8) * 16 + byte % 16) return false;
  return true;
}
static_assert(linesAgree());

/// Codes of 8-bit moments rise, come back from what they stand for, and hold 0 and 1; the least root is the least first moment.
template <int bits> constexpr bool codes() {
  for (int code = 0; code < 1 << bits; code++) {
    const float x = moments::valueOf<bits>(code);
    if (moments::codeOf<bits>(x, 0.5f) != code || (code > 0 && x <= moments::valueOf<bits>(code - 1))) return false;
  }
  return moments::valueOf<bits>(0) == 0 && moments::valueOf<bits>((1 << bits) - 1) == 1;
}
static_assert(codes<moments::kFirst>() && codes<moments::kRoot>());
static_assert(moments::valueOf<moments::kRoot>(moments::kLeastRoot) == moments::valueOf<moments::kFirst>(1));

/// Every tile is computed by exactly one block.
bool everyTileOnce(int64_t down, int64_t across, int64_t band) {
  static bool done[64 * 64];
  for (bool& d : done) d = false;
  for (int64_t i = 0; i < down * across; i++) {
    const TileAt t = tileAt(i, down, across, band);
    if (t.down < 0 || t.down >= down || t.across < 0 || t.across >= across || done[t.down * 64 + t.across]) return false;
    done[t.down * 64 + t.across] = true;
  }
  return true;
}

/// However `rows` rows are cut into three groups, the tiles that are launched are enough.
bool enoughTiles(int64_t rows, int64_t size) {
  for (int64_t a = 0; a <= rows; a++)
    for (int64_t b = 0; a + b <= rows; b++)
      if (tilesOf(a, size) + tilesOf(b, size) + tilesOf(rows - a - b, size) > mostTiles(rows, 3, size)) return false;
  return true;
}

/// Pieces cover the depth, none is empty, they end where steps do, and their tiles find a multiprocessor each.
bool piecesFit(int64_t m, int64_t n, int64_t k) {
  const Pieces p = piecesOf(m, n, k);
  if (p.count == 1) return p.each == k;
  return p.count * p.each >= k && (p.count - 1) * p.each < k && p.each % 64 == 0 && p.each >= 1024 && p.count * tilesOf(m, 128) * tilesOf(n, 256) <= 132;
}
static_assert(piecesOf(576, 2048, 8192).count == 3 && piecesOf(4096, 512, 8192).count == 1 && piecesOf(576, 2048, 4096).count == 1);

}  // namespace

/// Sums are linear, so a one in each lane in turn tells of all values: the lanes from it on have it in their sums.
constexpr bool warpSums() {
  for (int from = 0; from < 32; from++) {
    int32_t upTo[32] = {};
    upTo[from] = 1;
    for (int by = 1; by < 32; by *= 2) {
      int32_t next[32] = {};
      for (int lane = 0; lane < 32; lane++) next[lane] = cuda::prefix::withBelow(upTo[lane], upTo[lane >= by ? lane - by : lane], lane, by);
      for (int lane = 0; lane < 32; lane++) upTo[lane] = next[lane];
    }
    for (int lane = 0; lane < 32; lane++)
      if (upTo[lane] != (lane >= from ? 1 : 0)) return false;
  }
  return true;
}
static_assert(warpSums());

/// The same within a thread, however many of its values count.
constexpr bool threadSums() {
  for (int valid = -1; valid <= 5; valid++)
    for (int from = 0; from < 4; from++) {
      int32_t values[4] = {};
      values[from] = 1;
      const bool counts = from < valid;
      if (cuda::prefix::sumsBefore(values, valid) != (counts ? 1 : 0)) return false;
      for (int i = 0; i < 4; i++)
        if (values[i] != (counts && i > from ? 1 : 0)) return false;
    }
  return true;
}
static_assert(threadSums());

int main() {
  for (int64_t down = 1; down <= 40; down++)
    for (int64_t across = 1; across <= 40; across++)
      for (int64_t band : {1, 3, 8})
        if (!everyTileOnce(down, across, band)) return std::printf("tileAt: %ld x %ld, band %ld\n", long(down), long(across), long(band)), 1;
  for (int64_t size : {1, 4, 16})
    for (int64_t rows = 0; rows <= 70; rows++)
      if (!enoughTiles(rows, size)) return std::printf("mostTiles: %ld rows, tiles of %ld\n", long(rows), long(size)), 1;
  for (int64_t m = 1; m <= 6000; m += 37)
    for (int64_t n = 1; n <= 6000; n += 171)
      for (int64_t k = 1; k <= 300000; k += 2731)
        if (!piecesFit(m, n, k)) return std::printf("piecesOf: [%ld, %ld] over %ld\n", long(m), long(n), long(k)), 1;
  return 0;
}
