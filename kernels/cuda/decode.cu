// Attention of single rows over cached keys in pages: row r belongs to sequence[r], whose j-th key is row j%P of page
// pages[sequence[r]][j/P]; it sees the first lengths[r] keys.
//   attention_decode   k and v in caches of their own, query head h uses key head h / (H/G); with k_shared a key is k's channels
//                      followed by those, which all heads share
//   mla_decode         all heads share the one key row of the cache, and the value is its first L channels (weights absorbed)
//
// How it runs: keys are split in spans of 512 whose results are joined in pairs, pairs of pairs, and beyond eight in order. A block
// takes (row, 16 or 64 heads of one key head) over one span, or over two to eight when rows are many; what is left to join goes
// through scratch to a second kernel. Who joins does not change what is joined, so a row has the same bits in any batch. Where a
// key head serves 8 query heads or fewer, the 16 places of a block are filled from neighbouring rows that see the same keys:
// completions of one prompt, whose tables name the same pages, and a prompt's own tokens. The block of the first such row does the
// work of all, so a shared prefix is read once for them. bf16: decode_tensor.cuh, so that the cache is read once for 16 heads, and
// for 64 where a key head serves more than 16. f32 and odd sizes: a warp a head, without tensor cores. What bounds it: the bytes of
// the cache up to about 16 heads, tensor cores and shared memory beyond.
#include "decode_tensor.cuh"

namespace moe::cuda {

namespace {

using namespace decoding;

// -- without tensor cores ---------------------------------------------------------------------------------------------------

constexpr int kPlainWarps = 4, kPlainThreads = kPlainWarps * kLanes;

template <class T> __global__ void __launch_bounds__(kPlainThreads) plainKernel(Decode<T> d) {
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes, span = blockIdx.z;
  const int64_t row = blockIdx.x;
  const int head = blockIdx.y * kPlainWarps + warp, length = d.lengths[row];
  const int begin = span * kSpan, end = least(length, begin + kSpan);
  if (head >= d.heads || begin >= end) return;
  const int group = head / (d.heads / d.groups);
  const int32_t* table = d.tableOf(row);
  float* q = sharedMemory<float>() + warp * (d.depth + d.values);
  float* o = q + d.depth;
  for (int c = lane; c < d.depth; c += kLanes) q[c] = widen(d.q[row * d.qRow + head * d.qHead + c]);
  for (int c = lane; c < d.values; c += kLanes) o[c] = 0;
  __syncwarp();
  const float log2 = d.scale * kLog2e;
  Softmax own{-INFINITY, 0};
  for (int first = begin; first < end; first += kLanes) {
    float score = -INFINITY;
    if (const int key = first + lane; key < end) {
      const int64_t page = table[key / d.pageKeys], at = key % d.pageKeys;
      const T* k = d.k + page * d.kPage + at * d.kKey + group * d.kGroup;
      const T* rest = d.shared ? d.shared + page * d.sharedPage + at * d.sharedKey - d.own : k;
      float dot = 0;
      for (int c = 0; c < d.depth; c++) dot = fmaf(q[c], widen(c < d.own ? k[c] : rest[c]), dot);
      score = log2 * dot;
    }
    const float top = fmaxf(own.top, warpMost(score)), fade = ptx::exp2(own.top - top), p = ptx::exp2(score - top);
    own = {top, own.sum * fade + warpSum(p)};
    for (int c = lane; c < d.values; c += kLanes) o[c] *= fade;
    for (int j = 0; j < least(kLanes, end - first); j++) {
      const float pj = __shfl_sync(kAll, p, j);
      const int key = first + j;
      const T* value = d.v + table[key / d.pageKeys] * d.vPage + key % d.pageKeys * d.vKey + group * d.vGroup;
      for (int c = lane; c < d.values; c += kLanes) o[c] = fmaf(pj, widen(value[c]), o[c]);
    }
  }
  const int64_t part = d.partAt(row, head, span);
  for (int c = lane; c < d.values; c += kLanes) d.parts[part * d.values + c] = o[c];
  if (lane == 0) store<2>(d.stats + 2 * part, Floats<2>{{own.top, own.sum}});
}

// -- joining the spans ----------------------------------------------------------------------------------------------------------

/// n columns of the result over some spans; nothing where the row has none of them.
template <int n> struct Node {
  bool any = false;
  Softmax softmax{-INFINITY, 0};
  Floats<n> o = {};

  __device__ void joinWith(const Node& right) {
    if (!right.any) return;
    if (!any) {
      *this = right;
      return;
    }
    const Weights w = join(softmax, right.softmax);
#pragma unroll
    for (int i = 0; i < n; i++) o.at[i] = join(o.at[i], right.o.at[i], w);
  }
};

/// A warp a (row, head), n columns a lane. What a block has joined lies at its last span. Rows that one block has done are complete.
template <int n, class T> __global__ void __launch_bounds__(kThreads) joinKernel(Decode<T> d, bool complete) {
  const int lane = threadIdx.x % kLanes;
  const int64_t i = blockIdx.x * int64_t{kWarps} + threadIdx.x / kLanes;
  if (i >= d.rows * d.heads) return;
  const int64_t row = i / d.heads;
  const int head = static_cast<int>(i % d.heads), spans = divideUp(d.lengths[row], kSpan);
  if (complete && spans <= d.each) return;
  for (int col = lane * n; col < d.values; col += kLanes * n) {
    Node<n> all;
    for (int first = 0; first < spans; first += kTree) {
      Node<n> node[kTree];
#pragma unroll
      for (int s = 0; s < kTree; s++)
        if (first + s < spans && s % d.each == 0) {
          const int64_t part = d.partAt(row, head, least(first + s + d.each, spans) - 1);
          const Floats<2> stat = load<2>(d.stats + 2 * part);
          node[s] = {true, {stat.at[0], stat.at[1]}, load<n>(d.parts + part * d.values + col)};
        }
#pragma unroll
      for (int size = 1; size < kTree; size *= 2)
#pragma unroll
        for (int s = 0; s < kTree; s += 2 * size) node[s].joinWith(node[s + size]);
      all.joinWith(node[0]);
    }
    Floats<n> out;
#pragma unroll
    for (int j = 0; j < n; j++) out.at[j] = all.any ? all.o.at[j] / all.softmax.sum : 0.f;
    T* to = d.o + row * d.oRow + head * d.oHead + col;
#pragma unroll
    for (int j = 0; j < n; j++) put(to + j, out.at[j]);
  }
}

// -- launching ----------------------------------------------------------------------------------------------------------------

/// Whether everything can be copied in whole chunks.
bool aligned(const Decode<bf16>& d) {
  bool ok = d.depth % kChunk == 0 && d.own % kChunk == 0 && d.values % kChunk == 0;
  for (const int64_t stride : {d.qRow, d.qHead, d.oRow, d.oHead, d.kPage, d.kKey, d.kGroup, d.vPage, d.vKey, d.vGroup, d.sharedPage, d.sharedKey}) ok &= stride % kChunk == 0;
  for (const bf16* p : {d.q, d.k, d.v, d.shared, static_cast<const bf16*>(d.o)}) ok &= reinterpret_cast<uintptr_t>(p) % 16 == 0;
  return ok;
}

/// As many stages as let two blocks share a multiprocessor, or at least as fit one; false when not even one does.
bool chooseStages(Layout& layout) {
  const size_t limit = machine::sharedLimit(), half = limit / 2 - 1024;
  const auto fits = [&](int stages, size_t bytes) { return layout.stages = stages, layout.bytes() <= bytes; };
  if (layout.heads == kHeadTile)
    for (int stages = kMostStages; stages > 1; stages--)
      if (fits(stages, half)) return true;
  for (int stages = kMostStages; stages > 0; stages--)
    if (fits(stages, limit)) return true;
  return false;
}

/// Spans of a block: as many as leave the device something to choose from.
int spansOfBlock(const Decode<bf16>& d, int64_t blocksOfSpan, int blocksAtOnce) {
  if (d.together > 1) return 1;
  int each = 1;
  while (each < kTree && each < d.spans && blocksOfSpan * divideUp(d.spans, 2 * each) * 2 >= int64_t{3} * blocksAtOnce * machine::multiprocessors()) each *= 2;
  return each;
}

template <int tiles, int fragments> bool tensorDecode(Decode<bf16>& d) {
  Layout layout{tiles * kHeadTile, divideUp(d.depth, 64) * 64, d.v == d.k ? 0 : divideUp(d.values, 64) * 64, 1};
  if (!chooseStages(layout)) return false;
  const int64_t count = d.rows * d.groups * divideUp(d.heads / d.groups, tiles * kHeadTile);
  d.each = spansOfBlock(d, count, tiles == 1 ? 2 : 1);
  launch(tensorKernel<tiles, fragments>, dim3(blocks(count), 1, divideUp(d.spans, d.each)), kThreads, layout.bytes(), d, layout);
  return true;
}
template <int tiles> bool tensorDecode(Decode<bf16>& d) {
  if (d.values <= 128) return tensorDecode<tiles, 2>(d);
  if (d.values <= 256) return tensorDecode<tiles, 4>(d);
  return d.values <= 512 && tensorDecode<tiles, 8>(d);
}
bool tensorDecode(Decode<bf16>& d) {
  if (!aligned(d)) return false;
  return (d.heads / d.groups > kHeadTile && tensorDecode<4>(d)) || tensorDecode<1>(d);
}

template <class T> void joinSpans(const Decode<T>& d, bool complete) {
  if (complete && d.spans <= d.each) return;
  const unsigned grid = blocks(divideUp(d.rows * d.heads, int64_t{kWarps}));
  if (d.values % 4 == 0) launch(joinKernel<4, T>, grid, kThreads, 0, d, complete);
  else launch(joinKernel<1, T>, grid, kThreads, 0, d, complete);
}

template <class T> void decode(Decode<T> d) {
  if (d.heads % d.groups) throw Error("bad-argument", "attention_decode: " + std::to_string(d.heads) + " query heads do not share " + std::to_string(d.groups) + " key heads evenly.");
  const int sharers = most(d.heads / d.groups, 1);  // query heads of a key head
  d.together = sharers <= kHeadTile / 2 ? kHeadTile / sharers : 1;
  d.spans = static_cast<int>(most(divideUp(d.pagesPerSequence * d.pageKeys, int64_t{kSpan}), int64_t{1}));
  // A prompt passes through here as many rows: they go in passes of about one size, so that the parts stay small.
  constexpr int64_t kPartBytes = int64_t{512} << 20;
  const int64_t rows = d.rows, each = int64_t{d.heads} * d.spans, rowBytes = each * (d.values + 2) * static_cast<int64_t>(sizeof(float));
  const int64_t passes = divideUp(rows, most(kPartBytes / rowBytes, int64_t{1})), pass = divideUp(rows, most(passes, int64_t{1}));
  for (int64_t first = 0; first < rows; first += pass) {
    d.rows = least(pass, rows - first);
    d.parts = machine::scratch<float>(0, d.rows * each * d.values);
    d.stats = machine::scratch<float>(1, d.rows * each * 2);
    d.each = 1;
    bool done = false;
    if constexpr (sizeof(T) == sizeof(bf16)) done = tensorDecode(d);
    if (!done) launch(plainKernel<T>, dim3(blocks(d.rows), divideUp(d.heads, kPlainWarps), d.spans), kPlainThreads, kPlainWarps * (d.depth + d.values) * sizeof(float), d);
    joinSpans(d, done);
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
