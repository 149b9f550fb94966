// Products that are bound by memory: of a few rows with a matrix that is read once, where it lies (few.cc), and over a few steps
// of k (shallow.cc).
#pragma once
#include "gemm.h"

namespace moe::MOE_ISA::gemm {

/// Rows up to which multiplying b as it comes beats bringing it into panels first: rows along n, and rows along k.
inline constexpr int64_t kFewRows = 4, kFewTransposed = 2;

/// True for products of so few rows whose b lies in memory as rows along n or along k.
bool readsInPlace(const Product& product);

/// As compute() of gemm.h, with the same bits.
void computeInPlace(const Product& product, const Block& block, int worker);

/// True for products with a kFirst over so few steps of k that writing c is all they cost.
bool isShallow(const Product& product);

/// As compute() of gemm.h, with the same bits.
void computeShallow(const Product& product, const Block& block, int worker);

}  // namespace moe::MOE_ISA::gemm
