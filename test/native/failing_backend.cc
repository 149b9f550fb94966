// A backend whose every op fails as a GPU's does when a kernel reads where it must not. With -DOTHER_ABI it is of another version.
// It has a mebibyte of memory, of which its fill, which does nothing, takes three quarters for itself while it runs.
#include <cstdlib>
#include <cstring>

#include "../../native/backend.h"

namespace moe {

#ifdef OTHER_ABI
constexpr int kNumber = kAbi - 1;
#else
constexpr int kNumber = kAbi;
#endif

constexpr size_t kMemory = 1 << 20;
size_t used = 0;
void (*giveBack)(void*) = nullptr;
void* owner = nullptr;

void* allocate(size_t bytes) {
  if (used + bytes > kMemory) return nullptr;
  used += bytes;
  return malloc(bytes);
}
void release(void* data, size_t bytes) {
  used -= bytes;
  free(data);
}

void fillWithScratch(Out, float) {
  constexpr size_t scratch = kMemory / 4 * 3;
  void* data = allocate(scratch);
  if (!data) {
    giveBack(owner);
    data = allocate(scratch);
  }
  if (!data) throw Error("out-of-memory", "fill: no scratch memory.");
  release(data, scratch);
}

Backend backend = {
    kNumber,
    "failing",
    allocate,
    release,
    [](void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); },
    [](void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); },
    [] {},
    false,
    nullptr, nullptr, [](void (*give)(void*), void* whose) { giveBack = give, owner = whose; },
    nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
#define OP(name, params, contract) [] params { throw Error("internal", #name ": CUDA reports \"an illegal memory access was encountered\"."); },
#include "../../native/ops.def"
#undef OP
};

extern "C" __attribute__((visibility("default"))) const Backend* train_moe_backend(char*, size_t) {
  backend.fill = fillWithScratch;
  return &backend;
}

}  // namespace moe
