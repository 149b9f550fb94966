// Products of two bf16 operands on the matrix unit.
#pragma once
#include "gemm.h"

namespace moe::MOE_ISA::amx {

#if defined(__AVX512F__) || defined(MOE_AMX_TWIN)

/// True when products of these dtypes run here. It depends on nothing else, so that a row has the same bits in any batch.
bool serves(DType a, DType b);

/// As gemm::compute for one block; b is in place or in pairs.
void compute(const gemm::Product& product, const gemm::Block& block, int worker);

#else

inline bool serves(DType, DType) { return false; }
inline void compute(const gemm::Product&, const gemm::Block&, int) {}

#endif

}  // namespace moe::MOE_ISA::amx
