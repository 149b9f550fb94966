// The backend library: the machine's memory, and the table filled in. Every op runs between machine::enter and leave, so that
// an error can name it.
#include "cuda.cuh"

namespace moe {

namespace {

template <auto op, class Name> struct Named;
template <class Name, class... P, void (*op)(P...)> struct Named<op, Name> {
  static void call(P... arguments) {
    machine::enter(Name::text);
    op(arguments...);
    machine::leave();
  }
};

#define OP(name, params, contract)            \
  struct name##_text {                        \
    static constexpr const char* text = #name; \
  };
#include "../../native/ops.def"
#undef OP

const Backend backend = {
    kAbi, machine::kName, machine::allocate, machine::release, machine::copyIn, machine::copyOut, machine::synchronize, machine::kFresh,
    machine::capacity, machine::close, machine::onShortage, machine::beginTimer, machine::endTimer, machine::beginCopyOut, machine::endCopyOut,
    machine::beginCapture, machine::endCapture, machine::launchGraph, machine::destroyGraph,
#define OP(name, params, contract) Named<cuda::name, name##_text>::call,
#include "../../native/ops.def"
#undef OP
};

}  // namespace

/// The entry that the addon looks for: the backend, or nullptr after writing one sentence that says why there is none.
extern "C" __attribute__((visibility("default"))) const Backend* train_moe_backend(char* why, size_t size) {
  return machine::usable(why, size) ? &backend : nullptr;
}

}  // namespace moe
