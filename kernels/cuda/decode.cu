// Attention of single rows over cached keys in pages: row r belongs to sequence[r], whose j-th key is row j%P of page
// pages[sequence[r]][j/P]; it sees the first lengths[r] keys.
//   attention_decode   k and v in caches of their own, query head h uses key head h / (H/G); with k_shared a key is k's channels
//                      followed by those, which all heads share
//   mla_decode         all heads share the one key row of the cache, and the value is its first L channels (weights absorbed)
//
// How it runs: keys are split in spans of a fixed 512, a block to each (row, 16 heads, span); its results and softmax sums go to
// scratch and a second kernel merges the spans in order. A span's arithmetic depends on the row alone, so a row has the same bits
// in any batch. Where a key head serves 8 query heads or fewer, the 16 places of a block are filled from neighbouring rows that
// see the same keys: completions of one prompt, whose tables name the same pages, and a prompt's own tokens. The block of the
// first such row does the work of all, so a shared prefix is read once for them. bf16: a span passes through shared memory 64 keys at a time, scores and values by tensor cores, warps sharing the
// keys for the scores and the channels for the values, so that the cache is read once for 16 heads. f32 and odd sizes: a warp a
// head, without tensor cores. What bounds it: the bytes of the cache up to about 16 heads, tensor cores beyond.
#include "tile.cuh"

namespace moe::cuda {

namespace {

constexpr int kSpan = 512, kKeyTile = 64, kHeadTile = 16, kWarps = 4, kThreads = kWarps * kLanes;

template <class T> struct Decode {
  const T *q, *k, *v, *shared;  ///< shared: null when k holds all channels of a key
  T* o;
  int64_t qRow, qHead, oRow, oHead;
  int64_t kPage, kKey, kGroup, vPage, vKey, vGroup, sharedPage, sharedKey;  ///< elements between pages, keys of a page, key heads
  const int32_t *pages, *sequence, *lengths;
  int64_t rows, pagesPerSequence;
  int heads, groups, depth, own, values, pageKeys, spans;  ///< own: channels of a key that k holds
  int together;  ///< neighbouring rows that may share a block
  float scale;
  float* parts;  ///< [R,H,spans,V+2]: unnormalised result, maximum, sum

  __device__ int64_t page(int64_t row, int key) const { return pages[sequence[row] * pagesPerSequence + key / pageKeys]; }
  __device__ const T* keyAt(int64_t row, int key, int group) const { return k + page(row, key) * kPage + key % pageKeys * kKey + group * kGroup; }
  __device__ const T* sharedAt(int64_t row, int key) const { return shared + page(row, key) * sharedPage + key % pageKeys * sharedKey; }
  __device__ const T* valueAt(int64_t row, int key, int group) const { return v + page(row, key) * vPage + key % pageKeys * vKey + group * vGroup; }
  __device__ float* partAt(int64_t row, int head, int span) const { return parts + ((row * heads + head) * spans + span) * (values + 2); }
};

// -- without tensor cores ---------------------------------------------------------------------------------------------------

template <class T> __global__ void __launch_bounds__(kThreads) plainKernel(Decode<T> d) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, span = blockIdx.z;
  const int64_t row = blockIdx.x;
  const int head = blockIdx.y * kWarps + warp, length = d.lengths[row];
  const int begin = span * kSpan, end = least(length, begin + kSpan);
  if (head >= d.heads || begin >= end) return;
  const int group = head / (d.heads / d.groups);
  float* q = sharedMemory<float>() + warp * (d.depth + d.values);
  float* o = q + d.depth;
  for (int c = lane; c < d.depth; c += kLanes) q[c] = widen(d.q[row * d.qRow + head * d.qHead + c]);
  for (int c = lane; c < d.values; c += kLanes) o[c] = 0;
  __syncwarp();
  float top = -INFINITY, sum = 0;
  for (int first = begin; first < end; first += kLanes) {
    float score = -INFINITY;
    if (first + lane < end) {
      const T* key = d.keyAt(row, first + lane, group);
      float dot = 0;
      for (int c = 0; c < d.own; c++) dot = fmaf(q[c], widen(key[c]), dot);
      if (d.own < d.depth) {
        const T* rest = d.sharedAt(row, first + lane);
        for (int c = d.own; c < d.depth; c++) dot = fmaf(q[c], widen(rest[c - d.own]), dot);
      }
      score = d.scale * dot;
    }
    const float higher = fmaxf(top, warpMost(score)), fade = expf(top - higher), p = expf(score - higher);
    top = higher;
    sum = sum * fade + warpSum(p);
    for (int c = lane; c < d.values; c += kLanes) o[c] *= fade;
    for (int j = 0; j < least(kLanes, end - first); j++) {
      const float pj = __shfl_sync(kAll, p, j);
      const T* value = d.valueAt(row, first + j, group);
      for (int c = lane; c < d.values; c += kLanes) o[c] = fmaf(pj, widen(value[c]), o[c]);
    }
  }
  float* part = d.partAt(row, head, span);
  for (int c = lane; c < d.values; c += kLanes) part[c] = o[c];
  if (lane == 0) {
    part[d.values] = top;
    part[d.values + 1] = sum;
  }
}

// -- on tensor cores ----------------------------------------------------------------------------------------------------------

/// Shared memory of the tensor kernel. Key channels are rounded up to whole 64s, so that rows are whole swizzles; values to what
/// the warps own together.
struct Layout {
  int depth, values;
  bool ownValues;     ///< values have a tile of their own; else they are the first channels of the keys
  __host__ __device__ size_t bytes() const {
    return static_cast<size_t>((kHeadTile + kKeyTile) * depth + (ownValues ? kKeyTile * values : 0) + kHeadTile * kKeyTile) * sizeof(bf16) + 2 * kWarps * kHeadTile * sizeof(float) + 2 * kHeadTile * sizeof(int);
  }
};

/// Of the rows [first, first + together), those that meet this span's keys as `row` does, as bits; 0 when row sees none of them.
/// They see all of the span and their tables name the same pages, or they see a part and are rows of one sequence. Whole warps.
template <class T> __device__ unsigned companions(const Decode<T>& d, int64_t row, int64_t first, int begin) {
  const int64_t other = first + threadIdx.x % kLanes;
  const int end = begin + kSpan, length = d.lengths[row];
  bool same = length > begin && other < d.rows && other < first + d.together;
  if (same) {
    const int theirs = d.lengths[other];
    const int32_t mine = d.sequence[row], its = d.sequence[other];
    same = theirs > begin && (theirs >= end) == (length >= end);
    if (same && mine != its) {
      same = length >= end;
      for (int p = begin / d.pageKeys; same && p * d.pageKeys < end; p++) same = d.pages[mine * d.pagesPerSequence + p] == d.pages[its * d.pagesPerSequence + p];
    }
  }
  return __ballot_sync(kAll, same);
}

/// The n-th set bit.
__device__ __forceinline__ int bitOf(unsigned bits, int n) {
  for (; n > 0; n--) bits &= bits - 1;
  return __ffs(bits) - 1;
}

/// fragments: 8-channel columns of the result that a warp owns.
template <int fragments> __global__ void __launch_bounds__(kThreads, 2) tensorKernel(Decode<bf16> d, Layout layout) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, span = blockIdx.z;
  const int64_t row = blockIdx.x, bundle = row / d.together * d.together;
  const int begin = span * kSpan;
  const unsigned members = companions(d, row, bundle, begin);
  if (members == 0 || bundle + __ffs(members) - 1 != row) return;  // the first of them works for all
  const int each = d.heads / d.groups, tilesPerGroup = divideUp(each, kHeadTile);
  const int group = blockIdx.y / tilesPerGroup, firstInGroup = blockIdx.y % tilesPerGroup * kHeadTile;
  const int head = group * each + firstInGroup, perRow = least(kHeadTile, each - firstInGroup), count = __popc(members) * perRow;

  const Tile q{sharedMemory<bf16>(), layout.depth / kChunk}, k{q.data + kHeadTile * layout.depth, layout.depth / kChunk};
  const Tile v = layout.ownValues ? Tile{k.data + kKeyTile * layout.depth, layout.values / kChunk} : k;
  const Tile p{layout.ownValues ? v.data + kKeyTile * layout.values : k.data + kKeyTile * layout.depth, kKeyTile / kChunk};
  float* tops = reinterpret_cast<float*>(p.data + kHeadTile * kKeyTile);  // [warp][head], then sums [warp][head]
  float* sums = tops + kWarps * kHeadTile;
  int* rowOf = reinterpret_cast<int*>(sums + kWarps * kHeadTile);  // of each place: its row in the bundle, and where its keys end
  int* endOf = rowOf + kHeadTile;

  // Place h holds head h % perRow of member h / perRow; the surplus places compute zeros that nobody reads.
  if (const int h = threadIdx.x; h < kHeadTile) {
    rowOf[h] = bitOf(members, h < count ? h / perRow : 0);
    endOf[h] = least(d.lengths[bundle + rowOf[h]], begin + kSpan);
  }
  __syncthreads();
  int end = 0;
  for (int h = 0; h < count; h += perRow) end = most(end, endOf[h]);
  for (int i = threadIdx.x; i < kHeadTile * q.chunks; i += kThreads) {
    const int h = i / q.chunks, col = i % q.chunks * kChunk, valid = h < count ? most(least(d.depth - col, kChunk), 0) : 0;
    const bf16* from = valid > 0 ? d.q + (bundle + rowOf[h]) * d.qRow + (head + h % perRow) * d.qHead + col : d.q;
    ptx::copyAsync(q.chunk(h, col / kChunk), from, 2 * valid);
  }
  float o[1][fragments][4] = {};
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};  // of the heads lane/4 and lane/4 + 8; sums over this warp's keys
  for (int first = begin; first < end; first += kKeyTile) {
    const auto fill = [&](const Tile& t, int channels, bool values) {
      for (int i = threadIdx.x; i < kKeyTile * t.chunks; i += kThreads) {
        const int r = i / t.chunks, col = i % t.chunks * kChunk, key = first + r;
        const int valid = key < end ? most(least(channels - col, kChunk), 0) : 0;
        const bf16* from = valid <= 0 ? d.k : values ? d.valueAt(row, key, group) + col : col < d.own ? d.keyAt(row, key, group) + col : d.sharedAt(row, key) + (col - d.own);
        ptx::copyAsync(t.chunk(r, col / kChunk), from, 2 * valid);
      }
    };
    fill(k, d.depth, false);
    if (layout.ownValues) fill(v, d.values, true);
    ptx::commit();
    ptx::waitGroups<0>();
    __syncthreads();
    float s[1][2][4] = {};  // 16 heads by this warp's 16 keys
    multiply<false, false>(s, q, 0, k, warp * 16, layout.depth);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float high = -INFINITY;
#pragma unroll
      for (int j = 0; j < 2; j++)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; e++) {
          if (first + warp * 16 + 8 * j + fragment::c(lane, e).col >= endOf[lane / 4 + 8 * half]) s[0][j][e] = -INFINITY;
          high = fmaxf(high, s[0][j][e]);
        }
      high = fmaxf(high, __shfl_xor_sync(kAll, high, 1));
      high = fmaxf(high, __shfl_xor_sync(kAll, high, 2));
      if (lane % 4 == 0) tops[warp * kHeadTile + lane / 4 + 8 * half] = high;
    }
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int h = lane / 4 + 8 * half;
      float higher = top[half];
      for (int w = 0; w < kWarps; w++) higher = fmaxf(higher, tops[w * kHeadTile + h]);
      const float log2 = d.scale * kLog2e, base = higher * log2, fade = ptx::exp2(top[half] * log2 - base);
      top[half] = higher;
      sum[half] *= fade;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float a = ptx::exp2(s[0][j][2 * half] * log2 - base), b = ptx::exp2(s[0][j][2 * half + 1] * log2 - base);
        sum[half] += a + b;
        *reinterpret_cast<uint32_t*>(p.at(h, warp * 16 + 8 * j + fragment::c(lane, 0).col)) = pack(a, b);
      }
#pragma unroll
      for (int j = 0; j < fragments; j++)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; e++) o[0][j][e] *= fade;
    }
    __syncthreads();
    multiply<false, true>(o, p, 0, v, warp * fragments * 8, kKeyTile);
    __syncthreads();
  }
#pragma unroll
  for (int half = 0; half < 2; half++) {
    sum[half] += __shfl_xor_sync(kAll, sum[half], 1);
    sum[half] += __shfl_xor_sync(kAll, sum[half], 2);
    if (lane % 4 == 0) sums[warp * kHeadTile + lane / 4 + 8 * half] = sum[half];
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int h = lane / 4 + 8 * half;
    if (h >= count) continue;
    float* part = d.partAt(bundle + rowOf[h], head + h % perRow, span);
#pragma unroll
    for (int j = 0; j < fragments; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int col = (warp * fragments + j) * 8 + fragment::c(lane, e).col;
        if (col < d.values) part[col] = o[0][j][2 * half + e];
      }
    if (warp != 0 || lane % 4 != 0) continue;
    float all = 0;
    for (int w = 0; w < kWarps; w++) all += sums[w * kHeadTile + h];
    part[d.values] = top[half] * d.scale;
    part[d.values + 1] = all;
  }
}

// -- merging the spans ----------------------------------------------------------------------------------------------------------

/// A warp a (row, head): o = sum over spans of part * exp(top - highest) / sum of sums.
template <class T> __global__ void __launch_bounds__(kThreads) mergeKernel(Decode<T> d) {
  const int lane = threadIdx.x % kLanes;
  const int64_t i = blockIdx.x * int64_t{kWarps} + threadIdx.x / kLanes;
  if (i >= d.rows * d.heads) return;
  const int64_t row = i / d.heads;
  const int head = static_cast<int>(i % d.heads), spans = divideUp(d.lengths[row], kSpan);
  float top = -INFINITY, sum = 0;
  for (int s = 0; s < spans; s++) top = fmaxf(top, d.partAt(row, head, s)[d.values]);
  for (int s = 0; s < spans; s++) sum += d.partAt(row, head, s)[d.values + 1] * expf(d.partAt(row, head, s)[d.values] - top);
  for (int c = lane; c < d.values; c += kLanes) {
    float out = 0;
    for (int s = 0; s < spans; s++) out += d.partAt(row, head, s)[c] * expf(d.partAt(row, head, s)[d.values] - top);
    put(d.o + row * d.oRow + head * d.oHead + c, sum > 0 ? out / sum : 0.f);
  }
}

/// Whether the caches and q can be copied in whole chunks.
bool aligned(const Decode<bf16>& d) {
  bool ok = d.depth % kChunk == 0 && d.own % kChunk == 0 && d.values % kChunk == 0;
  for (const int64_t stride : {d.qRow, d.qHead, d.kPage, d.kKey, d.kGroup, d.vPage, d.vKey, d.vGroup, d.sharedPage, d.sharedKey}) ok &= stride % kChunk == 0;
  for (const bf16* p : {d.q, d.k, d.v, d.shared}) ok &= reinterpret_cast<uintptr_t>(p) % 16 == 0;
  return ok;
}

template <int fragments> bool tensorDecode(const Decode<bf16>& d) {
  constexpr int kValues = kWarps * fragments * 8;
  const bool ownValues = d.v != d.k;
  const Layout layout{most(divideUp(d.depth, 64) * 64, ownValues ? 0 : kValues), kValues, ownValues};
  if (layout.bytes() > machine::sharedLimit()) return false;
  const int tiles = d.groups * divideUp(d.heads / d.groups, kHeadTile);
  launch(tensorKernel<fragments>, dim3(blocks(d.rows), tiles, d.spans), kThreads, layout.bytes(), d, layout);
  return true;
}
bool tensorDecode(const Decode<bf16>& d) {
  if (!aligned(d)) return false;
  if (d.values <= 64) return tensorDecode<2>(d);
  if (d.values <= 128) return tensorDecode<4>(d);
  if (d.values <= 256) return tensorDecode<8>(d);
  return d.values <= 512 && tensorDecode<16>(d);
}

template <class T> void decode(Decode<T> d) {
  if (d.heads % d.groups) throw Error("bad-argument", "attention_decode: " + std::to_string(d.heads) + " query heads do not share " + std::to_string(d.groups) + " key heads evenly.");
  const int sharers = most(d.heads / d.groups, 1);  // query heads of a key head
  d.together = sharers <= kHeadTile / 2 ? kHeadTile / sharers : 1;
  d.spans = static_cast<int>(most(divideUp(d.pagesPerSequence * d.pageKeys, int64_t{kSpan}), int64_t{1}));
  // A prompt passes through here as many rows: they go in passes, so that the parts stay small.
  constexpr int64_t kPartBytes = int64_t{256} << 20;
  const int64_t rows = d.rows, each = int64_t{d.heads} * d.spans * (d.values + 2), pass = least(rows, most(kPartBytes / (4 * each), int64_t{1}));
  for (int64_t first = 0; first < rows; first += pass) {
    d.rows = least(pass, rows - first);
    d.parts = machine::scratch<float>(0, d.rows * each);
    bool done = false;
    if constexpr (sizeof(T) == sizeof(bf16)) done = tensorDecode(d);
    if (!done) launch(plainKernel<T>, dim3(blocks(d.rows), divideUp(d.heads, kWarps), d.spans), kThreads, kWarps * (d.depth + d.values) * sizeof(float), d);
    launch(mergeKernel<T>, blocks(divideUp(d.rows * d.heads, int64_t{kWarps})), kThreads, 0, d);
    d.q += pass * d.qRow;
    d.o += pass * d.oRow;
    d.sequence += pass;
    d.lengths += pass;
  }
}

/// What both ops have in common.
template <class T> Decode<T> begin(const Out& o, const In& q, const In& pages, const In& sequence, const In& lengths, float scale) {
  Decode<T> d{};
  d.q = q.as<T>();
  d.o = o.as<T>();
  d.qRow = q.stride[0];
  d.qHead = q.stride[1];
  d.oRow = o.stride[0];
  d.oHead = o.stride[1];
  d.pages = pages.as<int32_t>();
  d.sequence = sequence.as<int32_t>();
  d.lengths = lengths.as<int32_t>();
  d.rows = q.shape[0];
  d.pagesPerSequence = pages.shape[1];
  d.heads = static_cast<int>(q.shape[1]);
  d.depth = d.own = static_cast<int>(q.shape[2]);
  d.values = static_cast<int>(o.shape[2]);
  d.scale = scale;
  return d;
}

}  // namespace

void attention_decode(Out o, In q, In k, In v, MaybeIn k_shared, In pages, In sequence, In lengths, float scale) {
  const int64_t own = k.shape[3], shared = k_shared ? k_shared.shape[2] : 0;
  if (own + shared != q.shape[2])
    throw Error("bad-argument", "attention_decode: q has " + std::to_string(q.shape[2]) + " channels, but k and k_shared have " + std::to_string(own) + " + " + std::to_string(shared) + ".");
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    Decode<T> d = begin<T>(o, q, pages, sequence, lengths, scale);
    d.k = k.as<T>();
    d.v = v.as<T>();
    d.kPage = k.stride[0];
    d.kKey = k.stride[1];
    d.kGroup = k.stride[2];
    d.vPage = v.stride[0];
    d.vKey = v.stride[1];
    d.vGroup = v.stride[2];
    d.own = static_cast<int>(own);
    if (k_shared) {
      d.shared = k_shared.as<T>();
      d.sharedPage = k_shared.stride[0];
      d.sharedKey = k_shared.stride[1];
    }
    d.groups = static_cast<int>(k.shape[2]);
    d.pageKeys = static_cast<int>(k.shape[1]);
    decode(d);
  });
}

void mla_decode(Out o, In q, In cache, In pages, In sequence, In lengths, float scale) {
  if (o.shape[2] > cache.shape[2]) throw Error("bad-argument", "mla_decode: the result has more channels than a row of the cache.");
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    Decode<T> d = begin<T>(o, q, pages, sequence, lengths, scale);
    d.k = d.v = cache.as<T>();
    d.kPage = d.vPage = cache.stride[0];
    d.kKey = d.vKey = cache.stride[1];
    d.groups = 1;
    d.pageKeys = static_cast<int>(cache.shape[1]);
    decode(d);
  });
}

}  // namespace moe::cuda
