// A backend whose memory the host cannot touch, as that of a GPU: its addresses are none, and only its copies know the way. What
// reads or writes a tensor of it otherwise ends the process. It has no ops.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "../../native/backend.h"

namespace moe {

/// With these bits an x86-64 address is not canonical; what is added to it stays right.
constexpr uintptr_t kElsewhere = uintptr_t{0x5a} << 56;
void* away(const void* data) { return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(data) ^ kElsewhere); }

const Backend backend = {
    kAbi,
    "remote",
    [](size_t bytes) { return away(malloc(bytes)); },
    [](void* data, size_t) { free(away(data)); },
    [](void* to, const void* from, size_t bytes) { memcpy(away(to), from, bytes); },
    [](void* to, const void* from, size_t bytes) { memcpy(to, away(from), bytes); },
    [] {},
    false,
    nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
#define OP(name, params, contract) [] params { throw Error("internal", #name " does not exist here."); },
#include "../../native/ops.def"
#undef OP
};

extern "C" __attribute__((visibility("default"))) const Backend* train_moe_backend(char*, size_t) { return &backend; }

}  // namespace moe
