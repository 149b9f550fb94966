// How it runs: chunks of 256 items. (1) a block counts its chunk's items by bucket, (2) one block turns the counts into places:
// buckets after each other, chunks in order within one, (3) a block gives its items their places. In (1) and (3) a thread owns
// a bucket and walks the chunk in shared memory, so no atomics are needed and the order is kept. Bound by latency.
#include "sort.cuh"

namespace moe::cuda {

namespace {

constexpr int kChunkItems = 256, kThreads = 256;

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
    counts[blockIdx.x * int64_t{buckets} + b] = n;
  }
}

/// counts[chunk][b] becomes the place of the chunk's first item of b. Shared memory: the buckets' totals, then their begins.
__global__ void __launch_bounds__(kThreads) placeChunks(int32_t* counts, int32_t* offsets, int64_t chunks, int buckets) {
  int32_t* begins = sharedMemory<int32_t>();
  for (int b = threadIdx.x; b < buckets; b += kThreads) {
    int32_t total = 0;
    for (int64_t c = 0; c < chunks; c++) total += counts[c * buckets + b];
    begins[b] = total;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t at = 0;
    for (int b = 0; b < buckets; b++) {
      const int32_t total = begins[b];
      begins[b] = offsets[b] = at;
      at += total;
    }
    offsets[buckets] = at;
  }
  __syncthreads();
  for (int b = threadIdx.x; b < buckets; b += kThreads) {
    int32_t at = begins[b];
    for (int64_t c = 0; c < chunks; c++) {
      const int32_t n = counts[c * buckets + b];
      counts[c * buckets + b] = at;
      at += n;
    }
  }
}

__global__ void __launch_bounds__(kThreads) placeItems(int32_t* position, const int32_t* places, const int32_t* bucketOf, int64_t count, int buckets, machine::Fault tooLarge, int32_t* fault) {
  int32_t* items = sharedMemory<int32_t>();
  int32_t* mine = items + kChunkItems;
  const int64_t i = blockIdx.x * int64_t{kChunkItems} + threadIdx.x;
  mine[threadIdx.x] = -1;
  bring(items, bucketOf, count, buckets, tooLarge, fault);
  for (int b = threadIdx.x; b < buckets; b += kThreads) {
    int32_t at = places[blockIdx.x * int64_t{buckets} + b];
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
  const int64_t chunks = divideUp(count, int64_t{kChunkItems});
  int32_t* counts = machine::scratch<int32_t>(1, most(chunks, int64_t{1}) * buckets);
  const int n = static_cast<int>(buckets);
  launch(countChunks, blocks(chunks), kThreads, kChunkItems * sizeof(int32_t), counts, bucketOf, count, n, tooLarge, machine::faultWord());
  launch(placeChunks, 1, kThreads, buckets * sizeof(int32_t), counts, offsets, chunks, n);
  launch(placeItems, blocks(chunks), kThreads, 2 * kChunkItems * sizeof(int32_t), position, counts, bucketOf, count, n, tooLarge, machine::faultWord());
}

}  // namespace moe::cuda
