// How it runs: chunks of 256 items. (1) a block counts its chunk's items by bucket, (2) one block adds up the counts, which lie
// buckets after each other and chunks in order within one, into places, (3) a block gives its items their places. In (1) and (3) a
// thread owns a bucket and walks the chunk in shared memory, so no atomics are needed and the order is kept. Bound by latency.
#include "prefix.h"
#include "sort.cuh"

namespace moe::cuda {

namespace {

constexpr int kChunkItems = 256, kThreads = 256, kScanEach = 32;

__device__ int32_t bring(int32_t* items, const int32_t* bucketOf, int64_t count, int buckets, machine::Fault tooLarge, int32_t* fault) {
  const int64_t i = blockIdx.x * int64_t{kChunkItems} + threadIdx.x;
  int32_t mine = i < count ? bucketOf[i] : -1;
  if (mine >= buckets) {
    *fault = static_cast<int32_t>(tooLarge);
    mine = -1;
  }
  items[threadIdx.x] = mine;
  __syncthreads();
  return mine;
}

__global__ void __launch_bounds__(kThreads) countChunks(int32_t* counts, const int32_t* bucketOf, int64_t count, int buckets, machine::Fault tooLarge, int32_t* fault) {
  int32_t* items = sharedMemory<int32_t>();
  bring(items, bucketOf, count, buckets, tooLarge, fault);
  for (int b = threadIdx.x; b < buckets; b += kThreads) {
    int32_t n = 0;
    for (int i = 0; i < kChunkItems; i++) n += items[i] == b;
    counts[b * int64_t{gridDim.x} + blockIdx.x] = n;
  }
}

/// The sum over lower lanes.
__device__ __forceinline__ int32_t sumBefore(int32_t mine, int lane) {
  int32_t upTo = mine;
#pragma unroll
  for (int by = 1; by < kLanes; by *= 2) {
    const int32_t below = __shfl_up_sync(kAll, upTo, by);
    upTo = prefix::withBelow(upTo, below, lane, by);
  }
  return upTo - mine;
}

/// counts[i] becomes the sum of those before it, and *total that of all. counts holds whole packs.
__global__ void __launch_bounds__(kThreads) scanCounts(int32_t* counts, int32_t* total, int64_t size) {
  int32_t* sums = sharedMemory<int32_t>();  // of the warps, two turns
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  int32_t before = 0;
  int turn = 0;
  for (int64_t first = 0; first < size; first += kThreads * kScanEach, turn ^= kLanes) {
    const int64_t at = first + threadIdx.x * kScanEach;
    Pack<int32_t, kScanEach> v = {};
    if (at < size) v = *reinterpret_cast<const Pack<int32_t, kScanEach>*>(counts + at);
    const int32_t mine = prefix::sumsBefore(v.at, size - at);
    const int32_t inWarp = sumBefore(mine, lane);
    if (lane == kLanes - 1) sums[turn + warp] = inWarp + mine;
    __syncthreads();
    const int32_t ofWarp = lane < kThreads / kLanes ? sums[turn + lane] : 0, warpsBefore = sumBefore(ofWarp, lane);
    const int32_t add = before + inWarp + __shfl_sync(kAll, warpsBefore, warp);
#pragma unroll
    for (int i = 0; i < kScanEach; i++) v.at[i] += add;
    if (at < size) *reinterpret_cast<Pack<int32_t, kScanEach>*>(counts + at) = v;
    before += __shfl_sync(kAll, warpsBefore + ofWarp, kLanes - 1);
  }
  if (threadIdx.x == 0) *total = before;
}

__global__ void __launch_bounds__(kThreads) placeItems(int32_t* position, int32_t* offsets, const int32_t* places, const int32_t* bucketOf, int64_t count, int buckets, machine::Fault tooLarge, int32_t* fault) {
  int32_t* items = sharedMemory<int32_t>();
  int32_t* mine = items + kChunkItems;
  const int64_t i = blockIdx.x * int64_t{kChunkItems} + threadIdx.x;
  mine[threadIdx.x] = -1;
  bring(items, bucketOf, count, buckets, tooLarge, fault);
  for (int b = threadIdx.x; b < buckets; b += kThreads) {
    int32_t at = places[b * int64_t{gridDim.x} + blockIdx.x];
    if (blockIdx.x == 0) offsets[b] = at;
    for (int j = 0; j < kChunkItems; j++)
      if (items[j] == b) mine[j] = at++;
  }
  __syncthreads();
  if (i < count) position[i] = mine[threadIdx.x];
}

}  // namespace

void countingSort(int32_t* position, int32_t* offsets, const int32_t* bucketOf, int64_t count, int64_t buckets, machine::Fault tooLarge) {
  constexpr int64_t kMostBuckets = 4096;
  if (buckets < 1 || buckets > kMostBuckets) throw Error("bad-argument", std::to_string(buckets) + " buckets (experts) are asked for; 1 to 4096 are sorted on this device.");
  const int64_t chunks = most(divideUp(count, int64_t{kChunkItems}), int64_t{1}), size = chunks * buckets;
  int32_t* counts = machine::scratch<int32_t>(1, divideUp(size, int64_t{kScanEach}) * kScanEach);
  const int n = static_cast<int>(buckets);
  launch(countChunks, blocks(chunks), kThreads, kChunkItems * sizeof(int32_t), counts, bucketOf, count, n, tooLarge, machine::faultWord());
  launch(scanCounts, 1, kThreads, 2 * kLanes * sizeof(int32_t), counts, offsets + buckets, size);
  launch(placeItems, blocks(chunks), kThreads, 2 * kChunkItems * sizeof(int32_t), position, offsets, counts, bucketOf, count, n, tooLarge, machine::faultWord());
}

}  // namespace moe::cuda
