// Products of two bf16 operands on the matrix unit.
#pragma once
#include "gemm.h"

namespace moe::MOE_ISA::amx {

#if defined(__AVX512F__) || defined(MOE_AMX_TWIN)

/// True when products of these dtypes run here. It depends on nothing else, so that a row has the same bits in any batch.
bool serves(DType a, DType b);

/// As gemm::compute for one block; b is in place or in pairs.
void compute(const gemm::Product& product, const gemm::Block& block, int worker);

/// One panel of 16 columns in pairs, [k / 32][pair][column][2], zero-padded: from[j*stride + k] for j < cols.
void packPanel(bf16* to, const bf16* from, int64_t stride, int64_t cols, int64_t depth);

inline constexpr int64_t kPanelCols = 16;
inline int64_t panelSize(int64_t depth) { return divideUp(depth, 32) * 32 * kPanelCols; }

#else

inline bool serves(DType, DType) { return false; }
inline void compute(const gemm::Product&, const gemm::Block&, int) {}
inline void packPanel(bf16*, const bf16*, int64_t, int64_t, int64_t) {}
inline constexpr int64_t kPanelCols = 16;
inline int64_t panelSize(int64_t) { return 0; }

#endif

}  // namespace moe::MOE_ISA::amx
