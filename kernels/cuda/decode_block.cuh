// A block of decode_tensor.cuh: what it works on, how its shared memory lies, and how queries and keys come there.
#pragma once
#include "decode.cuh"
#include "tile.cuh"

namespace moe::cuda::decoding {

constexpr int kHeadTile = 16, kKeyTile = 32, kWarps = 8, kThreads = kWarps * kLanes;
constexpr int kKeyParts = kKeyTile / 16, kDepthParts = kWarps / kKeyParts;
constexpr int kScoreRow = kKeyTile + 8;  ///< floats; so that a fragment is written without bank conflicts
constexpr int kChunkLanes = 8;           ///< threads that copy one key
constexpr int kMostStages = 4;
static_assert(kThreads / kChunkLanes == kKeyTile);
static_assert(kSpan % kKeyTile == 0);

/// Shared memory. Channels are rounded up to whole 64s, so that rows are whole swizzles.
struct Layout {
  int heads, depth, values;  ///< values: 0 when they are the first channels of the keys
  int stages;

  __host__ __device__ int qSize() const { return heads * depth; }  // in bf16
  __host__ __device__ int stageSize() const { return kKeyTile * (depth + values); }
  __host__ __device__ int pSize() const { return heads * kKeyTile; }
  __host__ __device__ size_t bytes() const {
    const size_t halves = qSize() + stages * stageSize() + pSize();
    return halves * sizeof(bf16) + static_cast<size_t>(heads) * ((kDepthParts * kScoreRow + 3) * sizeof(float) + 3 * sizeof(int));
  }
};

/// A Tile whose rows are whole swizzles: without the other case, which costs a branch and a division at every access.
struct WideTile {
  bf16* data;
  int chunks;  ///< per row: a multiple of 8
  __device__ __forceinline__ bf16* chunk(int row, int chunk) const { return data + (row * chunks + (chunk ^ (row & 7))) * kChunk; }
};

/// The same as pointers.
struct Arena {
  WideTile q;
  Tile p;
  bf16* ring;
  float* scores;        ///< [depth part][head][kScoreRow]
  float *fade, *top, *sum;  ///< of each head: what earlier results count for, and the softmax at a span's end
  int *rowOf, *headOf, *endOf;  ///< of each place: its row in the bundle, its head, and where its keys end

  __device__ explicit Arena(const Layout& l)
      : q{sharedMemory<bf16>(), l.depth / kChunk}, p{q.data + l.qSize() + l.stages * l.stageSize(), kKeyTile / kChunk}, ring(q.data + l.qSize()) {
    scores = reinterpret_cast<float*>(p.data + l.pSize());
    fade = scores + kDepthParts * l.heads * kScoreRow;
    top = fade + l.heads;
    sum = top + l.heads;
    rowOf = reinterpret_cast<int*>(sum + l.heads);
    headOf = rowOf + l.heads;
    endOf = headOf + l.heads;
  }
  __device__ WideTile keys(const Layout& l, int stage) const { return {ring + stage * l.stageSize(), l.depth / kChunk}; }
  __device__ WideTile values(const Layout& l, int stage) const {
    return l.values ? WideTile{ring + stage * l.stageSize() + kKeyTile * l.depth, l.values / kChunk} : keys(l, stage);
  }
};

/// What a block works on. Place h holds head h % perRow of its member h / perRow; surplus places compute what nobody reads.
struct Job {
  int64_t bundle;           ///< the first row that may be a member
  unsigned members;         ///< rows of the bundle, as bits
  int group, head, perRow, count;  ///< key head, first head of each member, heads of each, places taken
  int span, begin, end;     ///< first span, its first key, and where the last member's keys end
  bool alone;               ///< no other block reads these keys, as far as the rows beside tell
};

/// Of the rows [first, first + together), those that meet this span's keys as `row` does, as bits; 0 when row sees none of them.
/// They see all of the span and their tables name the same pages, or they see a part and are rows of one sequence. Whole warps.
/// Rows that may be together have blocks of one span.
__device__ inline unsigned companions(const Decode<bf16>& d, int64_t row, int64_t first, int begin) {
  const int64_t other = first + threadIdx.x % kLanes;
  const int end = begin + kSpan, length = d.lengths[row];
  bool same = length > begin && other < d.rows && other < first + d.together;
  if (same) {
    const int theirs = d.lengths[other];
    const int32_t mine = d.sequence[row], its = d.sequence[other];
    same = theirs > begin && (theirs >= end) == (length >= end);
    if (same && mine != its) {
      same = length >= end;
      const int32_t *a = d.tableOf(row), *b = d.tableOf(other);
#pragma unroll 4
      for (int p = begin / d.pageKeys; p * d.pageKeys < end; p++) same &= a[p] == b[p];
    }
  }
  return __ballot_sync(kAll, same);
}

/// Whether another row finds the key that `row` finds there in the same page.
__device__ inline bool meets(const Decode<bf16>& d, int64_t row, int64_t other, int key) {
  return other >= 0 && other < d.rows && d.lengths[other] > key && d.tableOf(row)[key / d.pageKeys] == d.tableOf(other)[key / d.pageKeys];
}

/// The n-th set bit.
__device__ __forceinline__ int bitOf(unsigned bits, int n) {
  for (; n > 0; n--) bits &= bits - 1;
  return __ffs(bits) - 1;
}

/// The job of this thread's block, whose places hold up to `heads` heads; without members when another block does it, or there is
/// nothing to do. All threads.
__device__ inline Job jobOf(const Decode<bf16>& d, int heads) {
  const int each = d.heads / d.groups, perGroup = divideUp(each, heads), perRow = d.groups * perGroup, turn = blockIdx.x % perRow;
  const int64_t row = blockIdx.x / perRow;
  Job job{};
  job.span = blockIdx.z * d.each;
  job.begin = job.span * kSpan;
  job.bundle = row / d.together * d.together;
  job.group = turn / perGroup;
  job.head = job.group * each + turn % perGroup * heads;
  job.perRow = least(heads, each - turn % perGroup * heads);
  if (job.span == 0 && d.lengths[row] <= 0)
    for (int i = threadIdx.x; i < job.perRow * d.values; i += kThreads) d.o[row * d.oRow + (job.head + i / d.values) * d.oHead + i % d.values] = bf16{0};
  job.members = companions(d, row, job.bundle, job.begin);
  if (job.members != 0 && job.bundle + __ffs(job.members) - 1 != row) job.members = 0;  // the first of them works for all
  if (job.members == 0) return job;
  job.count = __popc(job.members) * job.perRow;
  const int64_t last = job.bundle + kLanes - 1 - __clz(job.members);
  job.alone = perGroup == 1 && (d.groups == 1 || !d.shared) && !meets(d, row, row - 1, job.begin) && !meets(d, row, last + 1, job.begin);
  return job;
}

/// Says whose the places are, and completes the job by where its keys end. All threads.
__device__ inline void takePlaces(const Decode<bf16>& d, const Arena& s, Job& job, int heads) {
  if (const int h = threadIdx.x; h < heads) {
    s.rowOf[h] = bitOf(job.members, h < job.count ? h / job.perRow : 0);
    s.headOf[h] = job.head + h % job.perRow;
    s.endOf[h] = least(d.lengths[job.bundle + s.rowOf[h]], job.begin + d.each * kSpan);
  }
  __syncthreads();
  for (int h = 0; h < job.count; h += job.perRow) job.end = most(job.end, s.endOf[h]);
}

/// Starts filling the stage with 32 keys from `first` on, whose page this thread has looked up. Eight threads a key, a line of 128
/// bytes at a time. once: nobody else will read them.
template <bool once> __device__ __forceinline__ void fillStage(const Decode<bf16>& d, const Layout& l, const WideTile& k, const WideTile& v, const Job& job, int first, int32_t page) {
  const auto copy = [](bf16* to, const bf16* from, int bytes) { once ? ptx::copyAsyncOnce(to, from, bytes) : ptx::copyAsync(to, from, bytes); };
  const int r = threadIdx.x / kChunkLanes, sub = threadIdx.x % kChunkLanes, key = first + r;
  const bool seen = key < job.end;
  const int64_t at = key % d.pageKeys, in = seen ? page : 0;
  const bf16* own = d.k + in * d.kPage + at * d.kKey + job.group * d.kGroup;
  const bf16* rest = d.own < d.depth ? d.shared + in * d.sharedPage + at * d.sharedKey - d.own : own;
#pragma unroll 3
  for (int chunk = sub; chunk < k.chunks; chunk += kChunkLanes) {
    const int col = chunk * kChunk;
    const bool valid = seen && col < d.depth;
    copy(k.chunk(r, chunk), valid ? (col < d.own ? own : rest) + col : d.k, valid ? 16 : 0);
  }
  if (!l.values) return;
  const bf16* value = d.v + in * d.vPage + at * d.vKey + job.group * d.vGroup;
#pragma unroll 2
  for (int chunk = sub; chunk < v.chunks; chunk += kChunkLanes) {
    const bool valid = seen && chunk * kChunk < d.values;
    copy(v.chunk(r, chunk), valid ? value + chunk * kChunk : d.k, valid ? 16 : 0);
  }
}

/// Starts copying the queries; surplus places and channels become 0.
__device__ inline void fillQueries(const Decode<bf16>& d, const Arena& s, const Job& job, int heads) {
  for (int h = threadIdx.x / kChunkLanes; h < heads; h += kThreads / kChunkLanes) {
    const bf16* from = d.q + (job.bundle + s.rowOf[h]) * d.qRow + s.headOf[h] * d.qHead;
    for (int chunk = threadIdx.x % kChunkLanes; chunk < s.q.chunks; chunk += kChunkLanes) {
      const bool valid = h < job.count && chunk * kChunk < d.depth;
      ptx::copyAsync(s.q.chunk(h, chunk), valid ? from + chunk * kChunk : d.q, valid ? 16 : 0);
    }
  }
}

/// Fills the ring stage by stage. A page is looked up one stage ahead of its copies.
struct Filler {
  const int32_t* table;
  int tiles;  ///< of kKeyTile keys
  int32_t page;

  __device__ Filler(const Decode<bf16>& d, const Arena& s, const Job& job)
      : table(d.tableOf(job.bundle + s.rowOf[0])), tiles(divideUp(job.end - job.begin, kKeyTile)), page(pageOf(d, job, 0)) {}
  __device__ __forceinline__ int32_t pageOf(const Decode<bf16>& d, const Job& job, int tile) const {
    return table[least(job.begin + tile * kKeyTile + static_cast<int>(threadIdx.x) / kChunkLanes, job.end - 1) / d.pageKeys];
  }
  /// Nothing for tiles beyond the last, but a group of copies all the same, so that they can be counted.
  __device__ __forceinline__ void fill(const Decode<bf16>& d, const Layout& l, const Arena& s, const Job& job, int tile, int stage) {
    if (tile < tiles) {
      const int first = job.begin + tile * kKeyTile;
      if (job.alone) fillStage<true>(d, l, s.keys(l, stage), s.values(l, stage), job, first, page);
      else fillStage<false>(d, l, s.keys(l, stage), s.values(l, stage), job, first, page);
      page = pageOf(d, job, tile + 1);
    }
    ptx::commit();
  }
};

}  // namespace moe::cuda::decoding
