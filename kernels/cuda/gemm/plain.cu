// Products in f32, or of f32 with bf16, without tensor cores: one chain of fused multiply-adds an element, k in order.
//
// How it runs: a block computes a tile, a thread em x en elements of it in registers. Tiles of both operands lie in shared memory
// as f32, [k][row], so that a step of k costs a thread one or two wide reads a side; while one pair of tiles is used, the next comes
// through registers, 4 elements an access. What bounds it: the f32 units where the tiles are large. Small products take smaller
// tiles, so that all multiprocessors have some. Training runs in bf16 (tensor.cu); this serves f32 models, the router and tests.
#include <algorithm>

#include "common.cuh"

namespace moe::cuda::gemm {

namespace {

constexpr int kUnit = 4;  ///< elements of one access

/// A tile of m x n elements, em x en a thread, `steps` of k at a time. The warps' lanes are 4 down and 8 across. cost: clock cycles
/// that a multiprocessor needs for a step of k, about.
template <int m, int n, int em, int en, int steps, int cost> struct Tiles {
  static constexpr int kM = m, kN = n, kEm = em, kEn = en, kSteps = steps, kCost = cost;
  static constexpr int kThreads = m / em * (n / en), kShared = 2 * steps * (m + n);  // floats, two pairs of tiles
};
using Large = Tiles<128, 128, 8, 8, 32, 140>;
using Small = Tiles<64, 64, 4, 4, 32, 40>;
using Narrow = Tiles<32, 32, 4, 2, 64, 11>;
using Tiny = Tiles<16, 16, 2, 2, 128, 5>;

/// Element (k, i) of a tile in shared memory. The groups of four are swapped so that both orders of writing spread over the banks.
template <int tile> __device__ __forceinline__ int placeOf(int k, int i) { return k * tile + (i ^ k / kUnit % least(8, tile / kUnit) * kUnit); }

/// Four elements as they came, in whole registers, so that nothing waits for them before they are used.
template <class T> struct Raw {
  static constexpr int kWords = kUnit * sizeof(T) / 4;
  Pack<uint32_t, kWords> words;

  __device__ __forceinline__ void take(const T* from) { words = *reinterpret_cast<const Pack<uint32_t, kWords>*>(from); }
  /// The first `valid` of them.
  __device__ __forceinline__ void take(const T* from, int64_t valid) {
#pragma unroll
    for (int i = 0; i < kUnit; i++) {
      if (i >= valid) continue;
      if constexpr (sizeof(T) == 4) words.at[i] = __float_as_uint(from[i]);
      else words.at[i / 2] |= uint32_t{from[i].bits} << i % 2 * 16;
    }
  }
  __device__ __forceinline__ float get(int i) const {
    if constexpr (sizeof(T) == 4) return __uint_as_float(words.at[i]);
    else return __uint_as_float(i % 2 ? words.at[i / 2] & 0xffff0000u : words.at[i / 2] << 16);
  }
};

/// Brings tiles [k][i] of one operand: i from `first` to `end`, which is its m or n. Rows beyond are whatever is at hand, for
/// nobody reads their sums; steps beyond k's end are zeros.
template <int tile, int steps, int threads, class T> struct Feeder {
  static constexpr int kUnits = tile * steps / kUnit / threads;
  const T* data;
  int64_t stride, first, end;
  const int32_t* gather;  ///< of the memory rows along k
  bool kFirst, whole;     ///< whole: units inside the operand are whole packs, and none crosses its edge but at k's end
  int64_t places[kUnits];  ///< of the units at step 0
  Raw<T> raw[kUnits];

  __device__ Feeder(const Side& s, int64_t batch, int64_t first, int64_t end, int64_t k, bool packs)
      : data(static_cast<const T*>(s.data) + batch), stride(s.stride), first(first), end(end), gather(s.kFirst ? s.gather : nullptr), kFirst(s.kFirst) {
    whole = packs && !gather && (kFirst ? first % kUnit == 0 && first + tile <= end : k % kUnit == 0);
#pragma unroll
    for (int u = 0; u < kUnits; u++) {
      const int64_t row = least(first + rowOf(u), end - 1);
      places[u] = kFirst ? depthOf(u) * stride + first + rowOf(u) : (s.gather ? s.gather[row] : row) * stride + depthOf(u);
    }
  }
  /// Where unit u begins: its four run along k, or with kFirst along i.
  __device__ __forceinline__ int rowOf(int u) const {
    const int at = u * threads + threadIdx.x;
    return kFirst ? at % (tile / kUnit) * kUnit : at / 8 % tile;
  }
  __device__ __forceinline__ int depthOf(int u) const {
    const int at = u * threads + threadIdx.x;
    return kFirst ? at / (tile / kUnit) : (at / (8 * tile) * 8 + at % 8) * kUnit;
  }
  __device__ __forceinline__ void fetch(int64_t k, int64_t kEnd) {
    if (whole && k + steps <= kEnd) {
      const T* from = data + (kFirst ? k * stride : k);
#pragma unroll
      for (int u = 0; u < kUnits; u++) raw[u].take(from + places[u]);
    } else if (k < kEnd) {
#pragma unroll
      for (int u = 0; u < kUnits; u++) {
        const int64_t step = k + depthOf(u), valid = step >= kEnd ? 0 : kFirst ? end - first - rowOf(u) : kEnd - step;
        raw[u] = {};
        if (valid > 0) raw[u].take(data + (gather ? gather[step] * stride + first + rowOf(u) : (kFirst ? k * stride : k) + places[u]), valid);
      }
    }
  }
  __device__ __forceinline__ void put(float* to) const {
    if (kFirst) {
#pragma unroll
      for (int u = 0; u < kUnits; u++) store<kUnit>(to + placeOf<tile>(depthOf(u), rowOf(u)), Floats<kUnit>{{raw[u].get(0), raw[u].get(1), raw[u].get(2), raw[u].get(3)}});
    } else {
#pragma unroll
      for (int u = 0; u < kUnits; u++)
#pragma unroll
        for (int j = 0; j < kUnit; j++) to[placeOf<tile>(depthOf(u) + j, rowOf(u))] = raw[u].get(j);
    }
  }
};

/// The thread's `each` elements of step k, which lie in packs of up to four, `apart` from each other.
template <int tile, int each, int apart> __device__ __forceinline__ void take(float (&x)[each], const float* from, int k, int first) {
  constexpr int kPack = least(each, kUnit);
#pragma unroll
  for (int i = 0; i < each; i += kPack) {
    const Floats<kPack> v = load<kPack>(from + placeOf<tile>(k, first + i / kPack * apart));
#pragma unroll
    for (int j = 0; j < kPack; j++) x[i + j] = v.at[j];
  }
}

template <class S> __device__ __forceinline__ void multiply(float (&sums)[S::kEm][S::kEn], const float* a, const float* b, int down, int across) {
#pragma unroll 2
  for (int group = 0; group < S::kSteps; group += kUnit)
#pragma unroll
    for (int k = group; k < group + kUnit; k++) {
      float x[S::kEm], y[S::kEn];
      take<S::kM, S::kEm, S::kM / 2>(x, a, k, down);
      take<S::kN, S::kEn, S::kN / 2>(y, b, k, across);
#pragma unroll
      for (int i = 0; i < S::kEm; i++)
#pragma unroll
        for (int j = 0; j < S::kEn; j++) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
}

/// What can be read and written in packs.
struct Whole {
  bool a, b, c;
};

template <class S, class A, class B> __global__ void __launch_bounds__(S::kThreads) plainKernel(Product p, int64_t tilesDown, Whole whole) {
  const TileAt tile = tileAt(blockIdx.x, tilesDown, tilesOf(p.n, S::kN));
  const Part part = partOf(p, tile.down, S::kM, blockIdx.z);
  if (part.empty) return;
  const int64_t col = tile.across * S::kN;
  constexpr int kPackM = least(S::kEm, kUnit), kPackN = least(S::kEn, kUnit), kAcross = S::kN / S::kEn / 8;  // warps side by side
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int down = (warp / kAcross * 4 + lane / 8) * kPackM, across = (warp % kAcross * 8 + lane % 8) * kPackN;
  float* a = sharedMemory<float>();
  float* b = a + 2 * S::kSteps * S::kM;
  Feeder<S::kM, S::kSteps, S::kThreads, A> feedA(p.a, batchOfA(p, part), part.row, part.rowEnd, part.k, whole.a);
  Feeder<S::kN, S::kSteps, S::kThreads, B> feedB(p.b, batchOfB(p, part), col, p.n, part.k, whole.b);
  float sums[S::kEm][S::kEn] = {};
  int buffer = 0;
  feedA.fetch(part.k, part.kEnd);
  feedB.fetch(part.k, part.kEnd);
  for (int64_t k = part.k; k < part.kEnd; k += S::kSteps, buffer ^= 1) {
    float *ta = a + buffer * S::kSteps * S::kM, *tb = b + buffer * S::kSteps * S::kN;
    feedA.put(ta);
    feedB.put(tb);
    __syncthreads();  // the other pair of tiles is free as well: whoever is here has used it
    feedA.fetch(k + S::kSteps, part.kEnd);
    feedB.fetch(k + S::kSteps, part.kEnd);
    multiply<S>(sums, ta, tb, down, across);
  }
  const int64_t base = batchOfC(p, part);
#pragma unroll
  for (int i = 0; i < S::kEm; i++)
#pragma unroll
    for (int j = 0; j < S::kEn; j += 2) {
      const int64_t row = part.row + down + i / kPackM * (S::kM / 2) + i % kPackM, at = col + across + j / kPackN * (S::kN / 2) + j % kPackN;
      if (row >= part.rowEnd || at >= p.n) continue;
      const int64_t to = base + row * p.c.stride + at;
      if (whole.c) {
        deliverTwo(p, to, at, sums[i][j], sums[i][j + 1]);
        continue;
      }
      deliver(p, to, at, sums[i][j]);
      if (at + 1 < p.n) deliver(p, to + 1, at + 1, sums[i][j + 1]);
    }
}

/// Whether units of four of the operand's memory rows begin at whole packs.
bool wholeUnits(const Side& s) {
  return s.stride % kUnit == 0 && s.batch % kUnit == 0 && reinterpret_cast<uintptr_t>(s.data) % (kUnit * static_cast<size_t>(bytes(s.dtype))) == 0;
}

template <class S> int64_t tilesOfProduct(const Product& p) { return rowTiles(p, S::kM) * tilesOf(p.n, S::kN); }

/// Cycles for a step of k, about.
template <class S> int64_t costOf(const Product& p) {
  return divideUp(tilesOfProduct<S>(p) * (p.groups == Groups::rows ? 1 : p.batches), int64_t{machine::multiprocessors()}) * S::kCost;
}

template <class S> void run(const Product& p) {
  const dim3 grid(blocks(tilesOfProduct<S>(p)), 1, p.groups == Groups::rows ? 1 : static_cast<unsigned>(p.batches));
  const Whole whole{wholeUnits(p.a), wholeUnits(p.b), pairedTarget(p)};
  const auto with = [&](auto a, auto b) { launch(plainKernel<S, decltype(a), decltype(b)>, grid, S::kThreads, S::kShared * sizeof(float), p, rowTiles(p, S::kM), whole); };
  if (p.a.dtype == DType::bf16) with(bf16{}, float{});
  else if (p.b.dtype == DType::bf16) with(float{}, bf16{});
  else with(float{}, float{});
}

}  // namespace

void computePlain(const Product& p) {
  const int64_t large = costOf<Large>(p), small = costOf<Small>(p), narrow = costOf<Narrow>(p), tiny = costOf<Tiny>(p), best = std::min({large, small, narrow, tiny});
  if (large == best) run<Large>(p);
  else if (small == best) run<Small>(p);
  else if (narrow == best) run<Narrow>(p);
  else run<Tiny>(p);
}

}  // namespace moe::cuda::gemm
