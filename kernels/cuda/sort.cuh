// Stable counting sort on the device: equal keys keep their order, so everything built on it is deterministic.
#pragma once
#include "cuda.cuh"

namespace moe::cuda {

/// Sorts `count` items by bucket. bucketOf[i] in [0, buckets), or negative for an item that has no place.
///   position[i]  where item i goes, -1 without a place          offsets[b]  where bucket b begins, offsets[buckets] their end
/// Uses scratch slot 1. At most 4096 buckets.
void countingSort(int32_t* position, int32_t* offsets, const int32_t* bucketOf, int64_t count, int64_t buckets, machine::Fault tooLarge);

}  // namespace moe::cuda
