// What every CPU kernel file includes. Each file is compiled once per instruction set, into the namespace MOE_ISA
// (portable, avx2, avx512, avx512bf16): write plain loops and vectors of `Lanes` floats; no intrinsics outside gemm/ and vec.h.
//
// Rule: no standard-library templates with out-of-line code here (std::vector, std::sort, ...). The linker would keep one
// copy of several, perhaps the one with instructions that the CPU lacks. A test reads the symbols.
#pragma once
#include <cstdint>
#include <cstring>

#include "../../native/backend.h"
#include "parallel.h"
#include "vec.h"

namespace moe::MOE_ISA {

#define OP(name, params, contract) void name params;
#include "../../native/ops.def"
#undef OP

/// Calls f with a value of the dtype's C++ type: dispatch(x.dtype, [&](auto t) { using T = decltype(t); ... }).
template <class F> inline void dispatch(DType dtype, F&& f) {
  if (dtype == DType::f32) f(float{});
  else if (dtype == DType::bf16) f(bf16{});
  else throw Error("internal", "a kernel was asked for a dtype it has no code for");
}

inline int64_t divideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace moe::MOE_ISA
