// Where the elements of mma.m16n8k16 and ldmatrix live: lane and register to row and column. Vendor's PTX manual, "Matrix
// fragments for mma.m16n8k16 with .bf16". Kernels use these to place their results, the emulator to compute, tests to prove
// that every element has exactly one owner.
#pragma once

namespace moe::fragment {

struct Place {
  int row, col;
};

/// A [16 x 16]: four registers of two elements; element e = 2*register + half.
constexpr Place a(int lane, int e) { return {lane / 4 + 8 * (e / 2 % 2), lane % 4 * 2 + e % 2 + 8 * (e / 4)}; }
/// B [16 x 8] as (k, n): two registers of two elements.
constexpr Place b(int lane, int e) { return {lane % 4 * 2 + e % 2 + 8 * (e / 2), lane / 4}; }
/// C and D [16 x 8]: four floats.
constexpr Place c(int lane, int e) { return {lane / 4 + 8 * (e / 2), lane % 4 * 2 + e % 2}; }

/// ldmatrix .x4: lane l names row l%8 of matrix l/8; every lane receives two elements of each matrix.
constexpr Place received(int lane, int half, bool transposed) {
  return transposed ? Place{lane % 4 * 2 + half, lane / 4} : Place{lane / 4, lane % 4 * 2 + half};
}

/// Which row and 16-byte chunk lane l names so that ldmatrix .x4 delivers the A fragment at (0, 0): from a tile [m][k], or with
/// kFirst from a tile [k][m] (.trans).
constexpr Place addressA(int lane, bool kFirst) {
  return kFirst ? Place{lane % 8 + lane / 16 * 8, lane / 8 % 2} : Place{lane % 16, lane / 16};
}
/// The same for two neighbouring B fragments [16 x 8]: from a tile [n][k], or with kFirst from a tile [k][n] (.trans).
constexpr Place addressB(int lane, bool kFirst) {
  return kFirst ? Place{lane % 16, lane / 16} : Place{lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

/// Shared tiles keep row r's 16-byte chunk c at chunk swizzle(r, c, chunks) of the row, so that the eight rows of an ldmatrix
/// lie in eight different bank groups. chunks: per row; 1, 2, 4 or a multiple of 8.
constexpr int swizzle(int row, int chunk, int chunks) {
  return chunks >= 8 ? chunk ^ (row & 7) : chunk ^ (row / (8 / chunks) & (chunks - 1));
}

/// The same for tiles with lines of 128 bytes, from the byte's plain place: as tensor copies write and wgmma reads them.
constexpr int swizzledByte(int plain) { return plain ^ (plain / 128 % 8) * 16; }

/// Accumulator i of a thread of a warpgroup: its place in wgmma's [64 x n]. A warp owns 16 rows, four accumulators 8 columns.
constexpr Place accumulator(int thread, int i) {
  const Place p = c(thread % 32, i % 4);
  return {thread / 32 % 4 * 16 + p.row, i / 4 * 8 + p.col};
}

}  // namespace moe::fragment
