// What the tensor-core and the plain product share: arguments, groups, and the way results leave.
#pragma once
#include "gemm.h"
#include "schedule.h"

namespace moe::cuda::gemm {

/// One tile's part of the product: rows [row, rowEnd) of c, depth [k, kEnd), the matrix of the batch.
struct Part {
  int64_t row, rowEnd, k, kEnd;
  int64_t batch;
  bool empty;
};

/// Row tiles of `size` of this lane's group (32 from `base` on; the last of all is the rows that belong to nobody), and of the groups
/// from `base` up to it.
struct TilesOfGroup {
  int mine, upTo;
};
__device__ inline TilesOfGroup tilesOfGroups(const Product& p, int base, int size) {
  const int lane = threadIdx.x % kLanes, g = base + lane, groups = static_cast<int>(p.batches) + 1;
  const int64_t begin = g < groups ? p.offsets[g] : 0, end = g + 1 < groups ? p.offsets[g + 1] : g < groups ? p.m : 0;
  TilesOfGroup t{static_cast<int>(tilesOf(end - begin, size)), 0};
  t.upTo = t.mine;
#pragma unroll
  for (int by = 1; by < kLanes; by *= 2) {
    const int other = __shfl_up_sync(kAll, t.upTo, by);
    if (lane >= by) t.upTo += other;
  }
  return t;
}

/// How many row tiles of `size` lie before each group of rows, by one warp: groups 0 .. E-1, then (E) the rows that belong to nobody
/// and (E + 1) what comes after all. A block that takes many tiles keeps it in shared memory.
__device__ inline void countTiles(int* before, const Product& p, int size) {
  const int lane = threadIdx.x % kLanes, groups = static_cast<int>(p.batches) + 1;
  int sum = 0;
  for (int base = 0; base < groups; base += kLanes) {
    const auto [mine, upTo] = tilesOfGroups(p, base, size);
    if (base + lane < groups) before[base + lane] = sum + upTo - mine;
    sum += __shfl_sync(kAll, upTo, kLanes - 1);
  }
  if (lane == 0) before[groups] = sum;
}

/// Row tile `index` of the group `owner`, before which `before` tiles lie.
__device__ __forceinline__ Part partOfGroup(const Product& p, int owner, int64_t index, int64_t before, int size) {
  const bool nobody = owner == p.batches;
  const int64_t first = p.offsets[owner], last = nobody ? p.m : p.offsets[owner + 1];
  return {first + (index - before) * size, last, 0, nobody ? 0 : p.k, nobody ? 0 : owner, false};
}

/// The group that holds row tile `index`, by countTiles(): whole warps look at 32 groups at a time. Tiles beyond all groups are empty.
__device__ __forceinline__ Part findGroup(const Product& p, const int* before, int index, int size) {
  const int groups = static_cast<int>(p.batches) + 1;
  if (index >= before[groups]) return {0, 0, 0, 0, 0, true};
  int owner = -1;  // the last one that begins at or before the tile; empty groups begin where the next one does
  for (int base = 0; base < groups; base += kLanes) {
    const int g = base + threadIdx.x % kLanes;
    owner += __popc(__ballot_sync(kAll, g < groups && before[g] <= index));
  }
  return partOfGroup(p, owner, index, before[owner], size);
}

/// The same without a table, for blocks that take one tile.
__device__ inline Part groupOfTile(const Product& p, int64_t index, int size) {
  const int groups = static_cast<int>(p.batches) + 1;  // the last one: rows that belong to nobody
  int64_t before = 0;
  for (int base = 0; base < groups; base += kLanes) {
    const auto [mine, upTo] = tilesOfGroups(p, base, size);
    const unsigned past = __ballot_sync(kAll, before + upTo > index);
    if (past) {
      const int owner = __ffs(past) - 1;
      return partOfGroup(p, base + owner, index, before + __shfl_sync(kAll, upTo - mine, owner), size);
    }
    before += __shfl_sync(kAll, upTo, kLanes - 1);
  }
  return {0, 0, 0, 0, 0, true};
}

/// batch: of a product in batches or groups of depth.
__device__ inline Part partOf(const Product& p, int64_t tile, int size, int64_t batch) {
  if (p.groups == Groups::rows) return groupOfTile(p, tile, size);
  if (p.groups == Groups::pieces) return {tile * size, p.m, batch * p.piece, least(p.k, (batch + 1) * p.piece), batch, false};
  const bool cut = p.groups == Groups::depth;
  return {tile * size, p.m, cut ? p.offsets[batch] : 0, cut ? p.offsets[batch + 1] : p.k, batch, false};
}

/// Row tiles to launch.
inline int64_t rowTiles(const Product& p, int size) { return p.groups == Groups::rows ? mostTiles(p.m, p.batches + 1, size) : tilesOf(p.m, size); }

/// Rows that belong to nobody take neither a's nor b's matrix; with `rows` a and c are one matrix.
__device__ __forceinline__ int64_t batchOfA(const Product& p, const Part& part) { return p.groups == Groups::none ? part.batch * p.a.batch : 0; }
__device__ __forceinline__ int64_t batchOfB(const Product& p, const Part& part) { return p.groups == Groups::depth ? 0 : part.batch * p.b.batch; }
__device__ __forceinline__ int64_t batchOfC(const Product& p, const Part& part) { return p.groups == Groups::rows ? 0 : part.batch * p.c.batch; }

__device__ __forceinline__ float read(const void* data, DType dtype, int64_t at) {
  return dtype == DType::f32 ? static_cast<const float*>(data)[at] : widen(static_cast<const bf16*>(data)[at]);
}

__device__ __forceinline__ void deliver(const Product& p, int64_t at, int64_t col, float sum) {
  if (p.c.bias) sum += read(p.c.bias, p.c.biasDtype, col);
  if (p.c.add) sum += read(p.c.data, p.c.dtype, at);
  if (p.c.dtype == DType::f32) put(static_cast<float*>(p.c.data) + at, sum);
  else put(static_cast<bf16*>(p.c.data) + at, sum);
}

/// Two neighbouring columns in one access: `at` is even and c's rows begin at even places.
__device__ __forceinline__ void deliverTwo(const Product& p, int64_t at, int64_t col, float first, float second) {
  if (p.c.bias) {
    first += read(p.c.bias, p.c.biasDtype, col);
    second += read(p.c.bias, p.c.biasDtype, col + 1);
  }
  const float beta = p.c.add ? 1.f : 0.f;
  if (p.c.dtype == DType::f32) accumulate<2>(static_cast<float*>(p.c.data) + at, Floats<2>{{first, second}}, beta);
  else accumulate<2>(static_cast<bf16*>(p.c.data) + at, Floats<2>{{first, second}}, beta);
}

/// Whether two neighbouring columns of c can be written at once.
inline bool pairedTarget(const Product& p) {
  const size_t pair = 2 * static_cast<size_t>(bytes(p.c.dtype));
  return p.n % 2 == 0 && p.c.stride % 2 == 0 && p.c.batch % 2 == 0 && reinterpret_cast<uintptr_t>(p.c.data) % pair == 0;
}

}  // namespace moe::cuda::gemm
