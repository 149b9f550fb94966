// Attention of new tokens to a paged cache: per key head, or absorbed latent attention, where all heads meet the same row
// of the cache and its first L channels are the value.
//
//   o[r,h] = sum_j p[j] v[j]    p = softmax over j < lengths[r] of scale * <q[r,h], k[j]>    key j: row j%P of page pages[b][j/P]
//
// With k_shared a key is k's channels followed by those, which all heads share, as in attention.cc.
//
// How it runs: a task takes neighbouring rows whose sequences begin with the same page (a prompt being read, samples of
// one prompt), with all heads that share a key head, and brings the keys past them tile by tile. Rows whose pages agree on
// a tile meet it together, so shared keys are read once. The arithmetic is that of attention_online.h, hence of training.
// With few tasks and long contexts the stretches of keys become tasks of their own, merged afterwards: the same bits.
// What bounds it: reading the cache, until some 16 rows meet each key; then the multiply-adds.
#include "attention_online.h"
#include "attention_segments.h"

namespace moe::MOE_ISA {

using namespace attention;

namespace {

constexpr int64_t kTaskQueries = 128;  // rows times heads of a task, about

/// Neighbouring rows that begin with the same page.
struct Chunk {
  int64_t row, rows, length;  ///< length: keys of the longest row
};

/// What each row sees. @throws Error("bad-argument") when an index leaves its tensor
struct Pages {
  const int32_t *pages, *sequence, *lengths;
  int64_t rows, sequences, perSequence, pageSize;

  Pages(const In& pages, const In& sequence, const In& lengths, int64_t pageCount, int64_t pageSize)
      : pages(pages.as<int32_t>()), sequence(sequence.as<int32_t>()), lengths(lengths.as<int32_t>()), rows(sequence.shape[0]),
        sequences(pages.shape[0]), perSequence(pages.shape[1]), pageSize(pageSize) {
    bool inside = true;
    for (int64_t r = 0; r < rows && inside; r++) {
      inside = this->sequence[r] >= 0 && this->sequence[r] < sequences && this->lengths[r] >= 0 && this->lengths[r] <= perSequence * pageSize;
      const bool again = r > 0 && this->sequence[r] == this->sequence[r - 1] && this->lengths[r] <= this->lengths[r - 1];
      for (int64_t p = 0; inside && !again && p * pageSize < this->lengths[r]; p++) inside = of(r)[p] >= 0 && of(r)[p] < pageCount;
    }
    if (!inside) throw Error("bad-argument", "attention over a cache: a sequence, length or page lies outside the cache.");
  }

  const int32_t* of(int64_t row) const { return pages + sequence[row] * perSequence; }

  /// True when rows a and b have the same keys at begin .. end, as far as both are long enough.
  bool agree(int64_t a, int64_t b, int64_t begin, int64_t end) const {
    if (sequence[a] == sequence[b]) return true;
    const int64_t last = least(end, least(lengths[a], lengths[b]));
    for (int64_t p = begin / pageSize; p * pageSize < last; p++)
      if (of(a)[p] != of(b)[p]) return false;
    return true;
  }

  int64_t cut(Chunk* chunks, int64_t most) const {
    int64_t count = 0;
    for (int64_t r = 0; r < rows; r++) {
      Chunk* last = count ? &chunks[count - 1] : nullptr;
      if (last && last->rows < most && agree(r - 1, r, 0, 1)) {
        last->rows++;
        if (lengths[r] > last->length) last->length = lengths[r];
      } else chunks[count++] = {r, 1, lengths[r]};
    }
    return count;
  }
};

/// Reads rows that lie in pages.
struct Paged {
  const int32_t* pages;
  int64_t pageSize;

  /// Row j of x, whose pages and rows are x.stride[0] and x.stride[1] elements apart.
  template <class T> const T* row(const View& x, int64_t j) const { return static_cast<const T*>(x.data) + pages[j / pageSize] * x.stride[0] + j % pageSize * x.stride[1]; }

  /// to[j][0..width) = x's elements offset .. offset + width of the keys key .. key + count. What comes a few rows later is asked
  /// for ahead: rows are read once, and pages lie anywhere.
  template <class T, class E> void gather(E* to, int64_t ld, const View& x, int64_t offset, int64_t width, int64_t key, int64_t count) const {
    constexpr int64_t kAhead = 8, kLine = 64 / sizeof(T);
    for (int64_t j = 0; j < count;) {
      const int64_t rows = least(count - j, pageSize - (key + j) % pageSize), stride = x.stride[1];
      const T *from = row<T>(x, key + j) + offset, *after = j + rows < count ? row<T>(x, key + j + rows) + offset : from;
      for (int64_t i = 0; i < rows; i++) {
        const T* later = i + kAhead < rows ? from + (i + kAhead) * stride : after + (i + kAhead - rows) * stride;
        for (int64_t c = 0; c < width; c += kLine) __builtin_prefetch(later + c);
        copyRow(to + (j + i) * ld, from + i * stride, width);
      }
      j += rows;
    }
  }

  /// Channels of the transposed tile of floats (attention_tile.h), `depth` in all: those from `channel` on become x's `width` ones, from
  /// its element `offset` on, for the keys key .. key + count. `room` holds kKeys rows of padded(width) floats.
  template <class T>
  void transposed(float* to, int64_t depth, int64_t channel, const View& x, int64_t offset, int64_t width, int64_t key, int64_t count, float* room) const {
    const bool direct = sizeof(T) == sizeof(float) && pageSize % kTileCols == 0;  // a panel's keys lie in one page
    const int64_t ld = padded(width);
    if (!direct) gather<T>(room, ld, x, offset, width, key, count);
    for (int64_t first = 0; first < count; first += kTileCols) {
      const auto* from = direct ? reinterpret_cast<const float*>(row<T>(x, key + first) + offset) : room + first * ld;
      gemm::packTransposed(to + (first / kTileCols * depth + channel) * kTileCols, from, direct ? x.stride[1] : ld, least(count - first, kTileCols), width);
    }
  }
};

/// Keys and values of their own per key head, k [Z,P,G,N] and v [Z,P,G,V]; a key may go on with channels that all heads share.
template <class T> struct GroupedKeys {
  using U = Unit<T>;
  const In &k, &v;
  const MaybeIn& shared;
  int64_t depth, width;

  int64_t units() const { return TileRoom<U>::units(depth, width); }
  KeyTile<U> fill(U* memory, const Paged& pages, int64_t group, int64_t key, int64_t count) const {
    const TileRoom<U> room(memory, depth, width);
    const int64_t own = k.shape[3];
    pages.gather<T>(room.values, room.ldv, v, group * v.stride[2], width, key, count);
    clearRest(room.values, room.ldv, count, width);
    if constexpr (kPairs<U>) {
      pages.gather<T>(room.keys, room.ldk, k, group * k.stride[2], own, key, count);
      if (shared) pages.gather<T>(room.keys + own, room.ldk, shared, 0, depth - own, key, count);
      clearRest(room.keys, room.ldk, count, depth);
      return room.tile();
    } else {
      pages.transposed<T>(room.keysT, depth, 0, k, group * k.stride[2], own, key, count, room.keys);
      if (shared) pages.transposed<T>(room.keysT, depth, own, shared, 0, depth - own, key, count, room.keys);
      return {{room.keysT, kTileCols, depth * kTileCols}, acrossRows(room.across, room.values, room.ldv, kKeys, width)};
    }
  }
};

/// One row [depth] per token in cache [Z,P,D], shared by all heads; the value is its beginning.
template <class T> struct LatentKeys {
  using U = Unit<T>;
  const In& cache;
  int64_t depth, width;

  int64_t units() const { return kKeys * 2 * padded(depth); }
  KeyTile<U> fill(U* keysT, const Paged& pages, int64_t, int64_t key, int64_t count) const {
    const int64_t ld = padded(depth);
    auto* rows = reinterpret_cast<Element<U>*>(keysT + kKeys * ld);
    auto* across = reinterpret_cast<U*>(rows + kKeys * ld);  // unused for floats
    pages.gather<T>(rows, ld, cache, 0, depth, key, count);
    clearRest(rows, ld, count, depth);
    return {transposeTile(keysT, rows, ld, depth), acrossRows(across, rows, ld, kKeys, width)};
  }
};

template <class T, template <class> class Keys> struct Decode {
  using U = Unit<T>;
  const Out& o;
  const In& q;
  Pages pages;
  Keys<T> keys;
  int64_t groups, heads;  ///< key heads, and the query heads of each
  float scale;

  void run(Chunk* chunks, int64_t count) const {
    const int64_t stretches = longest(chunks, count), tasks = count * groups;
    if (stretches < 2 || tasks >= 2 * parallel::threads()) {
      parallel::loop(tasks, [&](int64_t task, int worker) {
        const Chunk& chunk = chunks[task / groups];
        const Queries<U> queries = read(chunk, task % groups, chunk.length > kStretch, worker);
        walk(queries, chunk, task % groups, 0, chunk.length, worker);
        write(queries.finish(), chunk, task % groups);
      });
    } else runSplit(chunks, count, stretches);
  }

  /// Room for a chunk per row.
  static Chunk* table(const Pages& pages) { return static_cast<Chunk*>(parallel::shared((pages.rows + 1) * static_cast<int64_t>(sizeof(Chunk)))); }

 private:
  static int64_t longest(const Chunk* chunks, int64_t count) {
    int64_t length = 0;
    for (int64_t i = 0; i < count; i++) length = most(length, chunks[i].length);
    return divideUp(length, kStretch);
  }

  /// Each stretch by a task of its own; the sums wait in shared memory and are merged in order.
  void runSplit(const Chunk* given, int64_t count, int64_t stretches) const {
    const int64_t ld = padded(keys.width);
    Chunk chunks[2 * parallel::kMaxThreads];  // fewer, else the tasks would not be split; `given` lies in shared memory
    memcpy(chunks, given, count * sizeof(Chunk));
    int64_t rows = 0;
    for (int64_t i = 0; i < count; i++) rows = most(rows, chunks[i].rows);
    const int64_t each = Sums::floats(rows * heads, ld);
    auto* sums = static_cast<float*>(parallel::shared(count * groups * (stretches + 1) * each * static_cast<int64_t>(sizeof(float))));
    const auto partial = [&](int64_t task, int64_t stretch) {
      return Sums(sums + (task * (stretches + 1) + stretch) * each, rows * heads, ld);
    };
    parallel::loop(count * groups * stretches, [&](int64_t piece, int worker) {
      const int64_t task = piece / stretches, begin = piece % stretches * kStretch;
      const Chunk& chunk = chunks[task / groups];
      const Queries<U> queries = read(chunk, task % groups, false, worker);
      walk(queries, chunk, task % groups, begin, least(chunk.length, begin + kStretch), worker);
      const Sums to = partial(task, piece % stretches);
      to.clear(queries.rows);
      for (int64_t i = 0; i < queries.rows; i++) merge(to, i, queries.now, i);
    });
    parallel::loop(count * groups, [&](int64_t task, int) {
      const Chunk& chunk = chunks[task / groups];
      const Sums all = partial(task, stretches);
      all.clear(chunk.rows * heads);
      for (int64_t stretch = 0; stretch < stretches; stretch++)
        for (int64_t i = 0; i < chunk.rows * heads; i++) merge(all, i, partial(task, stretch), i);
      write(all, chunk, task % groups);
    });
  }

  Queries<U> read(const Chunk& chunk, int64_t group, bool stretches, int worker) const {
    const int64_t rows = chunk.rows * heads;
    const Queries<U> queries(parallel::scratch(worker, 0, Queries<U>::bytes(rows, keys.depth, keys.width, stretches)), rows, keys.depth, keys.width, stretches);
    for (int64_t i = 0; i < rows; i++) {
      queries.read(i, at<const T>(q, chunk.row + i / heads, group * heads + i % heads), keys.depth);
      queries.from[i] = 0;
      queries.to[i] = pages.lengths[chunk.row + i / heads];
    }
    return queries;
  }

  /// Brings the keys begin .. end past the rows that see them.
  void walk(const Queries<U>& queries, const Chunk& chunk, int64_t group, int64_t begin, int64_t end, int worker) const {
    auto* s = static_cast<float*>(parallel::scratch(worker, 1, (keys.units() + kScored<U> * kKeys) * static_cast<int64_t>(sizeof(float))));
    auto* room = reinterpret_cast<U*>(s + kScored<U> * kKeys);
    for (int64_t key = begin; key < end; key += kKeys) {
      for (int64_t i = 0; i < chunk.rows;) {
        int64_t widest = i, next = i + 1;  // rows i .. next agree with the longest of them
        for (; next < chunk.rows && pages.agree(chunk.row + widest, chunk.row + next, key, key + kKeys); next++)
          if (pages.lengths[chunk.row + next] > pages.lengths[chunk.row + widest]) widest = next;
        const int64_t count = least(pages.lengths[chunk.row + widest] - key, kKeys);
        if (count > 0) {
          const KeyTile<U> keyTile = keys.fill(room, {pages.of(chunk.row + widest), pages.pageSize}, group, key, count);
          attend(queries, i * heads, (next - i) * heads, keyTile, key, scale, s);
        }
        i = next;
      }
      queries.reached(key + kKeys);
    }
  }

  void write(const Sums& sums, const Chunk& chunk, int64_t group) const {
    for (int64_t i = 0; i < chunk.rows * heads; i++) {
      normalise(sums, i);
      gemm::narrowRow(at<T>(o, chunk.row + i / heads, group * heads + i % heads), sums.o + i * sums.ld, keys.width);
    }
  }
};

}  // namespace

void attention_decode(Out o, In q, In k, In v, MaybeIn k_shared, In pages, In sequence, In lengths, float scale) {
  const int64_t heads = q.shape[1], groups = k.shape[2], own = k.shape[3], shared = k_shared ? k_shared.shape[2] : 0;
  if (groups == 0 || heads % groups != 0) throw Error("bad-argument", "attention_decode: q's heads are not a multiple of k's.");
  if (own + shared != q.shape[2])
    refuse("attention_decode: q has %lld channels, but k and k_shared have %lld + %lld.", q.shape[2], own, shared);
  const Pages seen(pages, sequence, lengths, k.shape[0], k.shape[1]);
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    const Decode<T, GroupedKeys> decode = {o, q, seen, {k, v, k_shared, q.shape[2], v.shape[3]}, groups, heads / groups, scale};
    Chunk* chunks = decode.table(seen);
    decode.run(chunks, seen.cut(chunks, most(1, kTaskQueries / decode.heads)));
  });
}

void mla_decode(Out o, In q, In cache, In pages, In sequence, In lengths, float scale) {
  if (o.shape[2] > q.shape[2]) throw Error("bad-argument", "mla_decode: o has more channels than a row of the cache.");
  const Pages seen(pages, sequence, lengths, cache.shape[0], cache.shape[1]);
  dispatch(q.dtype, [&](auto t) {
    using T = decltype(t);
    const Decode<T, LatentKeys> decode = {o, q, seen, {cache, q.shape[2], o.shape[2]}, 1, q.shape[1], scale};
    Chunk* chunks = decode.table(seen);
    decode.run(chunks, seen.cut(chunks, most(1, kTaskQueries / most(1, decode.heads))));
  });
}

}  // namespace moe::MOE_ISA
