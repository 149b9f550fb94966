// What each PTX instruction of gpu/ptx.cuh means, in plain C++.
#pragma once
#include "../fragment.h"
#include "machine.cuh"

namespace moe::ptx {

/// cp.async of 16 bytes from global to shared memory; beyond `valid` bytes zeros arrive.
inline void copyAsync(void* shared, const void* global, int valid) {
  machine::requireShared(shared, 16, "an asynchronous copy goes outside the block's shared memory or to an odd address");
  if (valid > 0 && reinterpret_cast<uintptr_t>(global) % 16) machine::fail("an asynchronous copy reads from an address that is no multiple of 16");
  machine::issueCopy(shared, global, 16, valid);
}
/// The same for bytes that nobody else will read; what becomes of them in a cache does not show here.
inline void copyAsyncOnce(void* shared, const void* global, int valid) { copyAsync(shared, global, valid); }
inline void commit() { machine::commitCopies(); }
/// Waits until at most `groups` of this thread's committed groups are in flight.
template <int groups> void waitGroups() { machine::landCopies(groups); }

inline void namedBarrier(int id, int threads) { machine::barrier(id, threads); }

template <bool transposed> void loadMatrices(uint32_t (&r)[4], const void* row) {
  machine::requireShared(row, 16, "ldmatrix reads outside the block's shared memory or from an odd address");
  struct Lane {
    const uint16_t* row;
    uint32_t* r;
  } mine{static_cast<const uint16_t*>(row), r};
  machine::meet(transposed ? "ldmatrix.trans" : "ldmatrix", &mine, [](void** lanes) {
    const auto lane = [&](int i) { return static_cast<Lane*>(lanes[i]); };
    for (int l = 0; l < machine::kWarp; l++)
      for (int matrix = 0; matrix < 4; matrix++) {
        uint32_t both = 0;
        for (int half = 0; half < 2; half++) {
          const fragment::Place p = fragment::received(l, half, transposed);
          both |= uint32_t{lane(matrix * 8 + p.row)->row[p.col]} << 16 * half;
        }
        lane(l)->r[matrix] = both;
      }
  });
}

/// c += a b: [16 x 16] times [16 x 8], bf16 with f32 sums. Here: products in order of k.
inline void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Lane {
    float* c;
    const uint32_t* a;
    uint32_t b[2];
  } mine{c, a, {b0, b1}};
  machine::meet("mma", &mine, [](void** lanes) {
    const auto half = [](uint32_t word, int h) { return widen(bf16{static_cast<uint16_t>(word >> 16 * h)}); };
    float a[16][16], b[16][8];
    for (int l = 0; l < machine::kWarp; l++) {
      const Lane& lane = *static_cast<Lane*>(lanes[l]);
      for (int e = 0; e < 8; e++) {
        const fragment::Place p = fragment::a(l, e);
        a[p.row][p.col] = half(lane.a[e / 2], e % 2);
      }
      for (int e = 0; e < 4; e++) {
        const fragment::Place p = fragment::b(l, e);
        b[p.row][p.col] = half(lane.b[e / 2], e % 2);
      }
    }
    float product[16][8] = {};
    for (int m = 0; m < 16; m++)
      for (int k = 0; k < 16; k++)
        for (int n = 0; n < 8; n++) product[m][n] += a[m][k] * b[k][n];
    for (int l = 0; l < machine::kWarp; l++)
      for (int e = 0; e < 4; e++) {
        const fragment::Place p = fragment::c(l, e);
        static_cast<Lane*>(lanes[l])->c[e] += product[p.row][p.col];
      }
  });
}

/// x; on a GPU the compiler takes it for a new number each time.
inline int anew(int x) { return x; }
/// 2^x, to about 2 ulp.
inline float exp2(float x) { return std::exp2(x); }

}  // namespace moe::ptx
