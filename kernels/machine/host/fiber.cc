#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__x86_64__)
// Saves what the System V ABI asks a callee to keep, swaps stacks. A fresh fiber's first pop finds its entry in r12 and its
// argument in r13.
asm(R"(
.text
.p2align 4
.hidden train_moe_switch
.globl train_moe_switch
train_moe_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.hidden train_moe_start
.globl train_moe_start
train_moe_start:
  movq %r13, %rdi
  callq *%r12
  ud2
)");
extern "C" void train_moe_switch(void** save, void* load);
extern "C" void train_moe_start();
#else
#include <ucontext.h>
#endif

namespace moe::machine {

namespace {

char* newStack() {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  return static_cast<char*>(memory) + page;
}

}  // namespace

#if defined(__x86_64__)

void prepare(Fiber& fiber, void (*entry)(void*), void* argument) {
  if (!fiber.stack) fiber.stack = newStack();
  auto top = reinterpret_cast<void**>(fiber.stack + kStackBytes) - 2;  // keeps the ABI's alignment at the call in start
  *--top = reinterpret_cast<void*>(&train_moe_start);
  void* const saved[6] = {nullptr, nullptr, argument, reinterpret_cast<void*>(entry), nullptr, nullptr};  // r15 r14 r13 r12 rbx rbp
  for (int i = 5; i >= 0; i--) *--top = saved[i];
  fiber.top = top;
}

void switchTo(Fiber& from, Fiber& to) { train_moe_switch(&from.top, to.top); }

#else

void prepare(Fiber& fiber, void (*entry)(void*), void* argument) {
  if (!fiber.stack) fiber.stack = newStack();
  if (!fiber.top) fiber.top = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(fiber.top);
  getcontext(context);
  context->uc_stack.ss_sp = fiber.stack;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  const auto address = [](auto p) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(p)); };
  const uint64_t e = address(entry), a = address(argument);
  makecontext(context, reinterpret_cast<void (*)()>(+[](unsigned e0, unsigned e1, unsigned a0, unsigned a1) {
                reinterpret_cast<void (*)(void*)>(static_cast<uintptr_t>(uint64_t{e1} << 32 | e0))(
                    reinterpret_cast<void*>(static_cast<uintptr_t>(uint64_t{a1} << 32 | a0)));
              }),
              4, unsigned(e), unsigned(e >> 32), unsigned(a), unsigned(a >> 32));
}

void switchTo(Fiber& from, Fiber& to) {
  if (!from.top) from.top = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from.top), static_cast<ucontext_t*>(to.top));
}

#endif

}  // namespace moe::machine
