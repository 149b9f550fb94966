// A backend is one struct: where memory comes from, and one function per line of the table.
#pragma once
#include <cstddef>

#include "tensor.h"

namespace moe {

/// Raised whenever this struct or the table changes shape; a backend library of another number is refused by name.
inline constexpr int kAbi = 1;

struct Backend {
  int abi;
  const char* name;                                           ///< "cpu-avx2", "cuda", "emulator", ...
  void* (*allocate)(size_t bytes);                            ///< 64-byte aligned; nullptr when there is no room
  void (*release)(void* data, size_t bytes);
  void (*copy_in)(void* to, const void* from, size_t bytes);  ///< host to backend
  void (*copy_out)(void* to, const void* from, size_t bytes); ///< backend to host, waits
  void (*synchronize)();
#define OP(name, params, contract) void(*name) params;
#include "ops.def"
#undef OP
};

}  // namespace moe
