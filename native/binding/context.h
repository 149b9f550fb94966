// What every binding shares: the state of one JavaScript environment, and how native failures become JavaScript errors.
//
// A tensor is a number in JavaScript: slot + generation * 2^24. The slot table owns the view, the view counts on its
// buffer, and nothing here has a finalizer: JavaScript's scopes release handles (src/tensor/scope.ts). All state is per
// environment, so the addon works in several worker threads at once.
#pragma once
#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../backend.h"
#include "../comm/communicator.h"
#include "../graph.h"
#include "../memory.h"

namespace moe::binding {

inline constexpr int64_t kSlotBits = 24;
inline constexpr int64_t kSlotMask = (int64_t{1} << kSlotBits) - 1;

struct Slot {
  View view;
  int64_t generation = 1;
  bool used = false;
};

struct BackendHandle {
  const Backend* backend;
  std::unique_ptr<Allocator> allocator;
};

/// A copy to the host that was begun: the backend's ticket, or the bytes themselves where the backend copies at once.
struct Arrival {
  const Backend* backend;
  void* ticket;
  std::vector<char> bytes;
  size_t size;
};

/// Everything one JavaScript environment owns.
struct Context {
  std::vector<Slot> slots;
  std::vector<int32_t> freeSlots;
  std::vector<BackendHandle> backends;
  std::unordered_map<int64_t, std::unique_ptr<Graph>> graphs;
  Graph* recording = nullptr;  // one of them
  std::unordered_map<int64_t, Arrival> arrivals;
  std::unordered_map<int64_t, std::unique_ptr<comm::Communicator>> ranks;
  int64_t nextNumber = 1;  // of graphs, arrivals and ranks
  Napi::FunctionReference errorClass;
  int tag = 0;

  ~Context() {
    for (auto& [number, arrival] : arrivals)
      if (arrival.ticket) arrival.backend->end_copy_out(arrival.ticket, nullptr, 0);
    graphs.clear();
    for (Slot& slot : slots)
      if (slot.used) slot.view.buffer->owner->drop(slot.view.buffer);
    for (BackendHandle& handle : backends) {
      handle.allocator.reset();
      if (handle.backend->close) handle.backend->close();
    }
  }

  /// The backend of that number, as JavaScript counts them.
  BackendHandle& backend(int64_t index) {
    if (index < 0 || index >= static_cast<int64_t>(backends.size())) throw Error("bad-argument", "there is no device " + std::to_string(index) + ".");
    return backends[static_cast<size_t>(index)];
  }

  double put(const View& view) {
    int32_t index;
    if (freeSlots.empty()) {
      index = static_cast<int32_t>(slots.size());
      if (index >= kSlotMask) throw Error("internal", "more than 16 million tensors are alive at once.");
      slots.emplace_back();
    } else {
      index = freeSlots.back();
      freeSlots.pop_back();
    }
    Slot& slot = slots[index];
    slot.view = view;
    slot.used = true;
    return static_cast<double>(index + (slot.generation << kSlotBits));
  }

  Slot& at(int64_t id) {
    const int64_t index = id & kSlotMask;
    if (index >= static_cast<int64_t>(slots.size()) || !slots[index].used || slots[index].generation != id >> kSlotBits)
      throw Error("bad-argument", "this tensor was released already; keep() it or use it inside its scope.");
    return slots[index];
  }

  void release(int64_t id) {
    Slot& slot = at(id);
    slot.view.buffer->owner->drop(slot.view.buffer);
    slot.used = false;
    slot.generation++;
    freeSlots.push_back(static_cast<int32_t>(id & kSlotMask));
  }
};

inline Context& contextOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Context*>(data);
}

/// Throws the package's own error class, so that `instanceof TrainMoeError` and `.code` hold for native failures too.
inline napi_value raise(napi_env env, const char* code, const char* sentence) {
  Context& context = contextOf(env);
  if (context.errorClass.IsEmpty()) {
    napi_throw_error(env, code, sentence);
    return nullptr;
  }
  napi_value constructor = context.errorClass.Value(), arguments[2], error;
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &arguments[0]);
  napi_create_string_utf8(env, sentence, NAPI_AUTO_LENGTH, &arguments[1]);
  if (napi_new_instance(env, constructor, 2, arguments, &error) == napi_ok) napi_throw(env, error);
  return nullptr;
}

template <class F> napi_value guarded(napi_env env, F&& body) {
  try {
    return body();
  } catch (const Error& e) {
    return raise(env, e.code, e.what());
  } catch (const std::exception& e) {
    return raise(env, "internal", e.what());
  }
}

inline int64_t integer(napi_env env, napi_value value) {
  int64_t out = 0;
  if (napi_get_value_int64(env, value, &out) != napi_ok) throw Error("bad-argument", "a number was expected by the native call.");
  return out;
}

inline double number(napi_env env, napi_value value) {
  double out = 0;
  if (napi_get_value_double(env, value, &out) != napi_ok) throw Error("bad-argument", "a number was expected by the native call.");
  return out;
}

/// A Float64Array's numbers, which stay JavaScript's.
inline std::pair<const double*, int64_t> doublesOf(napi_env env, napi_value array) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, array, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array)
    throw Error("bad-argument", "a Float64Array was expected by the native call.");
  return {static_cast<const double*>(data), static_cast<int64_t>(length)};
}

/// A function of JavaScript that may throw Error.
using Function = Napi::Value (*)(const Napi::CallbackInfo&);

template <Function function> Napi::Value safely(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value { return function(info); })};
}
template <Function function> void add(Napi::Object to, const char* name) {
  to[name] = Napi::Function::New(to.Env(), safely<function>, name);
}
/// One that reads its arguments itself, for calls that come by the hundred with every step.
inline void addPlain(Napi::Object to, const char* name, napi_callback function) {
  napi_value value;
  napi_create_function(to.Env(), name, NAPI_AUTO_LENGTH, function, nullptr, &value);
  to[name] = Napi::Value(to.Env(), value);
}

// Each adds its functions to the addon's exports.
void addOps(Napi::Object exports);
void addTensors(Napi::Object exports);
void addGraphs(Napi::Object exports);
void addDevices(Napi::Object exports);
void addRanks(Napi::Object exports);

}  // namespace moe::binding
