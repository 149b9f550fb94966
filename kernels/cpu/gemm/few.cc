// A few rows times a matrix that is read once, where it lies.
//
// How it runs. Every element of c is the chain that tile.h promises: one multiply-add (or pair of them) after the other over k.
//   Rows along k (y = x W^T): kLanes rows of W are loaded at a time, as wide as a vector, and transposed in registers; a lane
//   is a column of c. The chains of kWidth columns stay in registers from the first step of k to the last.
//   Rows along n (dx = dy W): a lane is a column of c as it lies. The chains of a whole block wait in the first-level cache
//   and take kDeep steps at a time, so W is read in long pieces of a few rows.
// What bounds it: reading b from memory, if the next lines are asked for early enough; its rows are too many and the pieces of
// them too short for the CPU to foresee.
#include "few.h"

#include "operands.h"

namespace moe::MOE_ISA::gemm {

namespace {

constexpr int kScratchA = 0, kScratchSums = 2;
constexpr int64_t kWidth = 2 * kLanes;  // columns whose chains run side by side, to hide the latency of one
constexpr int kGroup = 32;              // columns of two rows that become pairs together
constexpr int kDeep = 4;                // units of k between loading and storing a chain

inline vec loadUnits(const float* p, float) { return load(p); }
inline vec loadUnits(const bf16* p, float) { return load(p); }
inline pvec loadUnits(const bf16* p, pair) { return load(reinterpret_cast<const pair*>(p)); }

/// The rows of a as units, side by side in scratch; `stride` units apart.
template <class U> struct FewRows {
  const U* data;
  int64_t stride;
};

template <class U> FewRows<U> bring(const Product& p, const Block& block, int worker) {
  const int64_t units = divideUp(p.k, kSteps<U>);
  auto* to = static_cast<U*>(parallel::scratch(worker, kScratchA, block.rows * units * static_cast<int64_t>(sizeof(U))));
  bringLeft(to, units, p, block.row, block.rows, 0, units);
  return {to, units};
}

// ---- rows along k ------------------------------------------------------------------------------------------------------

/// Adds `count` <= kLanes units from unit `unit` on to the chains of R rows and kLanes columns, whose rows begin at row[].
template <int R, class U, class T>
inline void addTransposed(vec (&sum)[R], FewRows<U> a, int64_t unit, int64_t count, const T* const (&row)[kLanes]) {
  decltype(loadUnits(row[0], U{})) units[kLanes];
#pragma GCC unroll 16
  for (int j = 0; j < kLanes; j++) units[j] = loadUnits(row[j], U{});
  transpose(units);
  if (count == kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++)
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) sum[r] = fma(splat(a.data[r * a.stride + unit + i]), units[i], sum[r]);
  } else {
    for (int64_t i = 0; i < count; i++)
      for (int r = 0; r < R; r++) sum[r] = fma(splat(a.data[r * a.stride + unit + i]), units[i], sum[r]);
  }
}

/// The chains of R rows and kWidth columns, of which `cols` exist: the rows `from`, from + stride, ... of b. Sums lie in
/// sums[r*pitch + j] before and after.
template <int R, class U, class T>
void alongK(float* sums, int64_t pitch, FewRows<U> a, const T* from, int64_t stride, int64_t cols, int64_t k) {
  constexpr int kParts = kWidth / kLanes;
  constexpr int64_t kPiece = kLanes * kSteps<U>, kAhead = kAheadBytes / static_cast<int64_t>(sizeof(T));
  const T* row[kParts][kLanes];
  vec sum[kParts][R];
  for (int64_t j = 0; j < kWidth; j++) row[j / kLanes][j % kLanes] = from + (j < cols ? j : cols - 1) * stride;
  for (int v = 0; v < kParts; v++)
    for (int r = 0; r < R; r++) sum[v][r] = load(sums + r * pitch + v * kLanes);
  int64_t at = 0;
  for (; at + kPiece <= k; at += kPiece)
#pragma GCC unroll 2
    for (int v = 0; v < kParts; v++) {
      const T* here[kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; j++) {
        here[j] = row[v][j] + at;
        __builtin_prefetch(here[j] + kAhead);
      }
      addTransposed<R>(sum[v], a, at / kSteps<U>, kLanes, here);
    }
  if (at < k)
    for (int v = 0; v < kParts; v++) {
      T rest[kLanes][kPiece] = {};
      const T* here[kLanes];
      for (int j = 0; j < kLanes; j++) {
        memcpy(rest[j], row[v][j] + at, static_cast<size_t>(k - at) * sizeof(T));
        here[j] = rest[j];
      }
      addTransposed<R>(sum[v], a, at / kSteps<U>, divideUp(k - at, kSteps<U>), here);
    }
  for (int v = 0; v < kParts; v++)
    for (int r = 0; r < R; r++) store(sums + r * pitch + v * kLanes, sum[v][r]);
}

// ---- rows along n ------------------------------------------------------------------------------------------------------

constexpr int kParts = kGroup / kLanes;

/// One unit of kGroup columns.
template <class T> inline void loadGroup(vec (&to)[kParts], const T* row, const T*) {
#pragma GCC unroll 8
  for (int v = 0; v < kParts; v++) to[v] = load(row + v * kLanes);
}
inline void loadGroup(pvec (&to)[kParts], const bf16* even, const bf16* odd) {
  pair both[kGroup];
  interleave(both, both + kGroup / 2, even, odd);
#pragma GCC unroll 8
  for (int v = 0; v < kParts; v++) to[v] = load(both + v * kLanes);
}

/// Adds D units, whose rows of b begin at row[], to the chains of R rows and kGroup columns.
template <int R, int D, class U, class T>
inline void addGroup(float* sums, int64_t pitch, const U (&left)[D][R], const T* const (&row)[D * kSteps<U>], int64_t col) {
  vec sum[R][kParts];
#pragma GCC unroll 4
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int v = 0; v < kParts; v++) sum[r][v] = load(sums + r * pitch + v * kLanes);
#pragma GCC unroll 4
  for (int d = 0; d < D; d++) {
    decltype(loadUnits(row[0], U{})) right[kParts];
    loadGroup(right, row[d * kSteps<U>] + col, row[d * kSteps<U> + kSteps<U> - 1] + col);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int v = 0; v < kParts; v++) sum[r][v] = fma(splat(left[d][r]), right[v], sum[r][v]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int v = 0; v < kParts; v++) store(sums + r * pitch + v * kLanes, sum[r][v]);
}

/// D units from unit `unit` on, for all columns of a block.
template <int R, int D, class U, class T>
inline void addRows(float* sums, int64_t pitch, FewRows<U> a, int64_t unit, const T* from, int64_t stride, int64_t cols, int64_t k) {
  static const T kNone[kGroup] = {};
  constexpr int64_t kRows = D * kSteps<U>;
  const T* row[kRows];
  U left[D][R];
  const int64_t first = unit * kSteps<U>;
  for (int64_t i = 0; i < kRows; i++) row[i] = from + (first + i) * stride;
  for (int d = 0; d < D; d++)
    for (int r = 0; r < R; r++) left[d][r] = a.data[r * a.stride + unit + d];
  const bool whole = first + kRows <= k;
  int64_t col = 0;
  if (whole)
    for (; col + kGroup <= cols; col += kGroup) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < kRows; i++) __builtin_prefetch(row[i] + kRows * stride + col);
      addGroup<R, D>(sums + col, pitch, left, row, col);
    }
  for (; col < cols; col += kGroup) {
    T part[kRows][kGroup] = {};
    const T* here[kRows];
    const int64_t count = cols - col < kGroup ? cols - col : kGroup;
    for (int64_t i = 0; i < kRows; i++) {
      here[i] = first + i < k ? part[i] : kNone;
      if (first + i < k) memcpy(part[i], row[i] + col, static_cast<size_t>(count) * sizeof(T));
    }
    addGroup<R, D>(sums + col, pitch, left, here, 0);
  }
}

template <int R, class U, class T>
void alongN(float* sums, int64_t pitch, FewRows<U> a, const T* from, int64_t stride, int64_t cols, int64_t k) {
  const int64_t units = divideUp(k, kSteps<U>);
  int64_t unit = 0;
  for (; (unit + kDeep) * kSteps<U> <= k; unit += kDeep) addRows<R, kDeep>(sums, pitch, a, unit, from, stride, cols, k);
  for (; unit < units; unit++) addRows<R, 1>(sums, pitch, a, unit, from, stride, cols, k);
}

// ---- blocks ------------------------------------------------------------------------------------------------------------

/// Where the chains begin.
void begin(float* sums, int64_t pitch, const Target& c, const Block& block) {
  const View* bias = c.bias;
  for (int64_t i = 0; i < block.rows; i++, sums += pitch) {
    memset(sums, 0, static_cast<size_t>(pitch) * sizeof(float));
    if (bias) dispatch(bias->dtype, [&](auto t) { widenRow(sums, static_cast<const decltype(t)*>(bias->data) + block.col, block.cols); });
    else if (c.add) dispatch(c.dtype, [&](auto t) { widenRow(sums, static_cast<const decltype(t)*>(c.data) + (block.row + i) * c.stride + block.col, block.cols); });
  }
}

void end(const float* sums, int64_t pitch, const Target& c, const Block& block) {
  dispatch(c.dtype, [&](auto t) {
    for (int64_t i = 0; i < block.rows; i++)
      narrowRow(static_cast<decltype(t)*>(c.data) + (block.row + i) * c.stride + block.col, sums + i * pitch, block.cols);
  });
}

template <int R, class U, class T> void run(float* sums, int64_t pitch, FewRows<U> a, const Product& p, const Block& block) {
  const auto* data = static_cast<const T*>(p.b.data);
  if (p.b.form == Form::rows) return alongN<R>(sums, pitch, a, data + block.col, p.b.stride, block.cols, p.k);
  for (int64_t col = 0; col < block.cols; col += kWidth) {
    const int64_t left = block.cols - col, cols = left < kWidth ? left : kWidth;
    alongK<R>(sums + col, pitch, a, data + (block.col + col) * p.b.stride, p.b.stride, cols, p.k);
  }
}

template <class U, class T> void runRows(const Product& p, const Block& block, int worker) {
  static_assert(kFewRows == 4);
  constexpr void (*kRuns[])(float*, int64_t, FewRows<U>, const Product&, const Block&) = {run<1, U, T>, run<2, U, T>, run<3, U, T>, run<4, U, T>};
  const int64_t pitch = divideUp(block.cols, kGroup) * kGroup;
  auto* sums = static_cast<float*>(parallel::scratch(worker, kScratchSums, block.rows * pitch * 4));
  begin(sums, pitch, p.c, block);
  kRuns[block.rows - 1](sums, pitch, bring<U>(p, block, worker), p, block);
  end(sums, pitch, p.c, block);
}

}  // namespace

bool readsInPlace(const Product& p) {
  if (p.b.form == Form::columns) return p.m <= kFewTransposed;
  return p.b.form == Form::rows && !p.b.rows && p.m <= kFewRows && !p.a.kFirst;
}

void computeInPlace(const Product& p, const Block& block, int worker) {
  if (usesPairs(p.a.dtype, p.b.dtype)) return runRows<pair, bf16>(p, block, worker);
  dispatch(p.b.dtype, [&](auto t) { runRows<float, decltype(t)>(p, block, worker); });
}

}  // namespace moe::MOE_ISA::gemm
