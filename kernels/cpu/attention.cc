// Attention, forward.
//
//   s[r,j] = scale * <q[r], k[j]>    p = softmax of s over the keys that r sees    o[r] = sum_j p[r,j] v[j]    lse = ln sum e^s
//
// How it runs: a task takes some rows of one head and brings the keys past them, tile by tile: widened or paired, and transposed
// once, then met by all of the task's queries (attention_online.h). Scores never leave the cache. Tiles that no row sees
// are not touched. What bounds it: the multiply-adds, 2 (D + V) operations for each pair that is seen.
#include "attention_online.h"
#include "attention_segments.h"

namespace moe::MOE_ISA {

using namespace attention;

namespace {

constexpr int64_t kChunk = 256;  // rows of a task, at most; their queries and outputs stay in the second-level cache

/// The rows of one task; all heads take the same.
struct Chunk {
  const Segment* segment;
  int64_t row, rows;
};

struct Forward {
  const Out &o, &lse;
  const In &q, &k, &v;
  const MaybeIn& kShared;
  const int32_t* ranges;
  float scale;
  Sizes n;

  template <class T> void run(const Chunk& chunk, int64_t head, int worker) const {
    using U = Unit<T>;
    const Segment& segment = *chunk.segment;
    const bool stretches = segment.end - segment.begin > kStretch;
    const Queries<U> queries(parallel::scratch(worker, 0, Queries<U>::bytes(chunk.rows, n.depth, n.width, stretches)), chunk.rows, n.depth, n.width, stretches);
    int64_t begin = segment.end - segment.begin, end = 0;
    for (int64_t i = 0; i < chunk.rows; i++) {
      queries.read(i, at<const T>(q, chunk.row + i, head), n.depth);
      const int32_t* range = ranges + 2 * (chunk.row + i);
      queries.from[i] = range[0] < range[1] ? static_cast<int32_t>(range[0] - segment.begin) : 0;
      queries.to[i] = range[0] < range[1] ? static_cast<int32_t>(range[1] - segment.begin) : 0;
      if (queries.from[i] == queries.to[i]) continue;
      begin = least(begin, queries.from[i]);
      end = most(end, queries.to[i]);
    }
    walk<T>(queries, segment, n.keyHead(head), begin / kKeys * kKeys, end, worker);
    write<T>(queries.finish(), chunk, head);
  }

  /// Brings the keys begin .. end of the segment past the queries.
  template <class T, class U> void walk(const Queries<U>& queries, const Segment& segment, int64_t group, int64_t begin, int64_t end, int worker) const {
    constexpr int64_t kScores = kScored<U> * kKeys;
    auto* s = static_cast<float*>(parallel::scratch(worker, 1, (kScores + TileRoom<U>::units(n.depth, n.width)) * static_cast<int64_t>(sizeof(float))));
    const TileRoom<U> room(reinterpret_cast<U*>(s + kScores), n.depth, n.width);
    for (int64_t key = begin; key < end; key += kKeys) {
      const int64_t count = least(kKeys, end - key);
      gatherKeys<T>(room.keys, room.ldk, n, k, kShared, group, segment.begin + key, count);
      gatherValues<T>(room.values, room.ldv, n, v, group, segment.begin + key, count);
      attend(queries, 0, queries.rows, room.tile(), key, scale, s);
      queries.reached(key + kKeys);
    }
  }

  template <class T> void write(const Sums& sums, const Chunk& chunk, int64_t head) const {
    for (int64_t i = 0; i < chunk.rows; i++) {
      lse.as<float>()[(chunk.row + i) * n.heads + head] = normalise(sums, i);
      gemm::narrowRow(at<T>(o, chunk.row + i, head), sums.o + i * sums.ld, n.width);
    }
  }
};

/// Cuts every segment in even chunks.
int64_t cutRows(const Segments& segments, Chunk* chunks) {
  int64_t count = 0;
  for (int64_t i = 0; i < segments.count; i++) {
    const Segment& segment = segments.list[i];
    const int64_t parts = divideUp(segment.rows, kChunk);
    for (int64_t p = 0; p < parts; p++) {
      const int64_t row = segment.rows * p / parts;
      chunks[count++] = {&segment, segment.row + row, segment.rows * (p + 1) / parts - row};
    }
  }
  return count;
}

}  // namespace

void attention_forward(Out o, Out lse, In q, In k, In v, MaybeIn kShared, In ranges, float scale) {
  const Forward forward = {o, lse, q, k, v, kShared, ranges.as<int32_t>(), scale, Sizes(q, k, v, kShared)};
  const int64_t rows = q.shape[0], table = Segments::bytes(rows);
  auto* memory = static_cast<char*>(parallel::shared(table + rows * static_cast<int64_t>(sizeof(Chunk))));
  auto* chunks = reinterpret_cast<Chunk*>(memory + table);
  const int64_t count = cutRows(findSegments(ranges, k.shape[0], reinterpret_cast<Segment*>(memory)), chunks), heads = forward.n.heads;
  dispatch(q.dtype, [&](auto t) {
    parallel::loop(count * heads, [&](int64_t task, int worker) {  // last rows first: under a causal mask they see most
      forward.run<decltype(t)>(chunks[count - 1 - task / heads], task % heads, worker);
    });
  });
}

}  // namespace moe::MOE_ISA
