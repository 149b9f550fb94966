// The matrix unit of Sapphire Rapids and later (Intel AMX, bf16), one function per instruction; and the same functions in
// plain C++ (MOE_AMX_TWIN), with which tests prove packing and indexing on any machine.
//
// A tile is 16 rows of 16 dwords. dot<C, A, B>: C[m][n] += sum over pairs p of A[m][p] . B[p][n], where a dword of A or B is
// a pair of bf16 (k = 2p, 2p + 1) and one of C a float: 32 steps of k at once.
#pragma once
#include "../cpu.h"

namespace moe::MOE_ISA::amx {

inline constexpr int kRows = 16;              ///< rows of a tile, and columns of C
inline constexpr int kDepth = 32;             ///< steps of k that a tile of A or B holds
inline constexpr int kTile = kRows * kDepth;  ///< bf16 in a tile; floats of C: half of it

#ifdef MOE_AMX_TWIN

struct Tile {
  uint32_t row[16][16];
};
inline thread_local Tile tiles[8];

inline void configure() {
  for (Tile& tile : tiles) tile = {};
}
inline void release() {
  for (Tile& tile : tiles) memset(&tile, 0xff, sizeof tile);  // a use after release shows as NaN
}
template <int T> inline void zero() { tiles[T] = {}; }
template <int T> inline void load(const void* from, int64_t stride) {
  for (int r = 0; r < 16; r++) memcpy(tiles[T].row[r], static_cast<const char*>(from) + r * stride, 64);
}
template <int T> inline void store(void* to, int64_t stride) {
  for (int r = 0; r < 16; r++) memcpy(static_cast<char*>(to) + r * stride, tiles[T].row[r], 64);
}
/// As TDPBF16PS does it: even and odd steps of k in sums of their own, added to C at the end.
template <int C, int A, int B> inline void dot() {
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 16; n++) {
      float sums[2] = {}, c;
      for (int p = 0; p < 16; p++)
        for (int half = 0; half < 2; half++)
          sums[half] += widen(bf16{static_cast<uint16_t>(tiles[A].row[m][p] >> 16 * half)}) *
                        widen(bf16{static_cast<uint16_t>(tiles[B].row[p][n] >> 16 * half)});
      memcpy(&c, &tiles[C].row[m][n], 4);
      c += sums[0] + sums[1];
      memcpy(&tiles[C].row[m][n], &c, 4);
    }
}

#else

struct alignas(64) Config {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Must run in every thread before its first tile instruction. Inline assembly with the whole struct as input: GCC 12's
/// _tile_loadconfig declares only 8 of the 64 bytes, so that the stores to the rest may be deleted.
inline void configure() {
  static const Config config;
  asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
}
inline void release() { asm volatile("tilerelease" : : : "memory"); }
template <int T> inline void zero() { asm volatile("tilezero %%tmm%c0" : : "i"(T)); }
template <int T> inline void load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(T) : "memory");
}
template <int T> inline void store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(T) : "memory");
}
template <int C, int A, int B> inline void dot() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

#endif

}  // namespace moe::MOE_ISA::amx
