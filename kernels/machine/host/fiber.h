// Fibers: a stack each and one switch. A fiber that is given up is never unwound, so nothing that owns memory may live on it.
#pragma once
#include <cstddef>

namespace moe::machine {

struct Fiber {
  void* top = nullptr;    ///< where the switched-out stack stands
  char* stack = nullptr;  ///< lowest address; a page below it faults
};

inline constexpr size_t kStackBytes = 128 * 1024;

/// Makes `fiber` start in entry(argument) when it is next switched to. entry must never return. Reuses the stack it has.
void prepare(Fiber& fiber, void (*entry)(void*), void* argument);

/// Leaves `from` and goes on in `to`.
void switchTo(Fiber& from, Fiber& to);

}  // namespace moe::machine
