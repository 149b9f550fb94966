// A backend whose every op fails as a GPU's does when a kernel reads where it must not. With -DOTHER_ABI it is of another version.
#include <cstdlib>
#include <cstring>

#include "../../native/backend.h"

namespace moe {

#ifdef OTHER_ABI
constexpr int kNumber = kAbi - 1;
#else
constexpr int kNumber = kAbi;
#endif

const Backend backend = {
    kNumber,
    "failing",
    [](size_t bytes) { return malloc(bytes); },
    [](void* data, size_t) { free(data); },
    [](void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); },
    [](void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); },
    [] {},
    nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
#define OP(name, params, contract) [] params { throw Error("internal", #name ": CUDA reports \"an illegal memory access was encountered\"."); },
#include "../../native/ops.def"
#undef OP
};

extern "C" __attribute__((visibility("default"))) const Backend* train_moe_backend(char*, size_t) { return &backend; }

}  // namespace moe
