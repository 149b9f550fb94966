// The CPU backend of one instruction set: its memory, and the table filled in.
#include <cstdlib>

#include "cpu.h"
#include "pages.h"

#define MOE_TEXT2(x) #x
#define MOE_TEXT(x) MOE_TEXT2(x)
#define MOE_JOIN2(a, b, c) a##b##c
#define MOE_JOIN(a, b, c) MOE_JOIN2(a, b, c)

namespace moe {

namespace {

void* allocate(size_t bytes) { return parallel::allocate(bytes); }
void release(void* data, size_t) { std::free(data); }
void copy(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
void synchronize() {}

}  // namespace

extern const Backend MOE_JOIN(cpu_, MOE_ISA, _backend);
const Backend MOE_JOIN(cpu_, MOE_ISA, _backend) = {
    kAbi, "cpu-" MOE_TEXT(MOE_ISA), allocate, release, copy, copy, synchronize, false,
    nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,  // nothing to wait for, nothing to record
#define OP(name, params, contract) MOE_ISA::name,
#include "../../native/ops.def"
#undef OP
};

}  // namespace moe
