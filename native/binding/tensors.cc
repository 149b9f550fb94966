// Tensors: made, looked at through windows, released, and copied from and to JavaScript.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../mapped_file.h"
#include "context.h"

namespace moe::binding {

namespace {

DType dtypeOf(int64_t code) {
  if (code < 0 || code > 4) throw Error("bad-argument", "dtype code " + std::to_string(code) + " is unknown; rebuild (npm run build).");
  return static_cast<DType>(code);
}

/// The arguments of the calls that come by the hundred with every step; read straight from Node-API, for its C++ wrapper
/// allocates memory for more than six of them.
struct Arguments {
  static constexpr size_t kMost = 3 + 2 * kMaxRank;
  napi_env env;
  size_t count = kMost;
  napi_value values[kMost];

  Arguments(napi_env env, napi_callback_info info) : env(env) { napi_get_cb_info(env, info, &count, values, nullptr, nullptr); }
  int64_t operator[](size_t i) const { return integer(env, values[i]); }
};

napi_value toNumber(napi_env env, double value) {
  napi_value out = nullptr;
  napi_create_double(env, value, &out);
  return out;
}

/// No tensor has more elements, and no two of its elements lie further apart: products of two sizes are checked, sums are safe.
constexpr int64_t kMostElements = int64_t{1} << 50;

void setShape(View& view, const Arguments& given, size_t first) {
  view.rank = static_cast<int>(given.count - first);
  if (view.rank > kMaxRank) throw Error("bad-argument", "a tensor has at most 5 dimensions, " + std::to_string(view.rank) + " were given.");
  for (int i = 0; i < view.rank; i++) {
    view.shape[i] = given[first + i];
    if (view.shape[i] < 0) throw Error("bad-argument", "a dimension of " + std::to_string(view.shape[i]) + " was given; sizes are 0 or more.");
  }
  int64_t stride = 1;
  for (int i = view.rank - 1; i >= 0; i--) {
    view.stride[i] = stride;
    if (__builtin_mul_overflow(stride, std::max<int64_t>(view.shape[i], 1), &stride) || stride > kMostElements)
      throw Error("bad-argument", "a tensor of more than 2^50 elements was asked for.");
  }
}

/// "a bf16 tensor [8,16]"
std::string describe(const View& view) {
  std::string text = std::string(view.dtype == DType::i32 || view.dtype == DType::f32 || view.dtype == DType::f64 ? "an " : "a ") + name(view.dtype) + " tensor [";
  for (int i = 0; i < view.rank; i++) text += (i ? "," : "") + std::to_string(view.shape[i]);
  return text + "]";
}

/// create(backend, dtype, weight, ...shape) -> id
napi_value create(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments given(env, info);
    Context& context = contextOf(env);
    View view;
    view.dtype = dtypeOf(given[1]);
    setShape(view, given, 3);
    view.buffer = context.backend(given[0]).allocator->create(view.size() * bytes(view.dtype), context.tag, [&] { return describe(view); });
    view.buffer->weight = given[2] != 0;
    view.data = view.buffer->data;
    return toNumber(env, context.put(view));
  });
}

/// view(id, offset, rank, ...shape, ...stride) -> id of a window on the same memory; offset and strides in elements
napi_value makeView(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments given(env, info);
    Context& context = contextOf(env);
    const View base = context.at(given[0]).view;
    const int64_t offset = given[1], rank = given[2];
    if (rank < 0 || rank > kMaxRank || static_cast<int64_t>(given.count) != 3 + 2 * rank) throw Error("internal", "view: wrong number of arguments.");
    View view = base;
    view.rank = static_cast<int>(rank);
    int64_t last = offset, elements = 1;
    bool empty = false, large = offset > kMostElements;
    for (int i = 0; i < rank; i++) {
      view.shape[i] = given[3 + i];
      view.stride[i] = given[3 + rank + i];
      if (view.shape[i] < 0 || view.stride[i] < 0) throw Error("bad-argument", "view: sizes and strides are 0 or more.");
      int64_t span;
      large |= __builtin_mul_overflow(elements, std::max<int64_t>(view.shape[i], 1), &elements) || elements > kMostElements ||
               view.stride[i] > kMostElements || __builtin_mul_overflow(std::max<int64_t>(view.shape[i] - 1, 0), view.stride[i], &span) || span > kMostElements;
      if (large) throw Error("bad-argument", "view: a window of more than 2^50 elements, or wider, was asked for.");
      empty |= view.shape[i] == 0;
      last += span;
    }
    const int64_t start = static_cast<char*>(base.data) - static_cast<char*>(base.buffer->data);
    if (offset < 0 || (!empty && start + (last + 1) * bytes(base.dtype) > static_cast<int64_t>(base.buffer->bytes)))
      throw Error("bad-argument", "view: the window reaches beyond the tensor's memory.");
    view.data = static_cast<char*>(base.data) + offset * bytes(base.dtype);
    view.buffer->views++;
    return toNumber(env, context.put(view));
  });
}

/// release(Float64Array of ids, count)
napi_value release(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Arguments given(env, info);
    Context& context = contextOf(env);
    const auto [ids, length] = doublesOf(env, given.values[0]);
    const int64_t count = given[1];
    if (count > length) throw Error("bad-argument", "release: fewer ids were given than are to be released.");
    for (int64_t i = 0; i < count; i++) context.release(static_cast<int64_t>(ids[i]));
    return nullptr;
  });
}

/// The bytes of a typed array or other view of memory.
std::pair<char*, size_t> bytesOf(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw Error("bad-argument", "a typed array was expected by the native call.");
  const auto array = value.As<Napi::TypedArray>();
  return {static_cast<char*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

template <class Copy> Napi::Value transfer(const Napi::CallbackInfo& info, const char* verb, Copy&& copy) {
  Context& context = contextOf(info.Env());
  const View view = context.at(integer(info.Env(), info[0])).view;
  const auto [data, size] = bytesOf(info[1]);
  const size_t wanted = view.size() * bytes(view.dtype);
  if (!view.contiguous()) throw Error("bad-argument", std::string(verb) + ": the tensor is a strided view; copy it first.");
  if (context.recording)
    throw Error("bad-argument", std::string(verb) + ": a graph is being recorded, which repeats ops and no copies from or to JavaScript; copy before or after it.");
  if (size != wanted)
    throw Error("bad-argument", std::string(verb) + ": the array has " + std::to_string(size) + " bytes, the tensor " + std::to_string(wanted) + ".");
  copy(view, data, size);
  return {};
}

Napi::Value write(const Napi::CallbackInfo& info) {
  return transfer(info, "write", [](const View& view, char* data, size_t size) {
    view.buffer->owner->backend()->copy_in(view.data, data, size);
    view.buffer->version++;
  });
}

Napi::Value read(const Napi::CallbackInfo& info) {
  return transfer(info, "read", [](const View& view, char* data, size_t size) { view.buffer->owner->backend()->copy_out(data, view.data, size); });
}

/// beginRead(id) -> number of a copy to the host that endRead() takes; the host does not wait for the device here
Napi::Value beginRead(const Napi::CallbackInfo& info) {
  Context& context = contextOf(info.Env());
  const View view = context.at(integer(info.Env(), info[0])).view;
  if (!view.contiguous()) throw Error("bad-argument", "read: the tensor is a strided view; copy it first.");
  if (context.recording) throw Error("bad-argument", "read: a graph is being recorded, which repeats ops and no copies from or to JavaScript; copy after it.");
  const Backend* backend = view.buffer->owner->backend();
  Arrival arrival{backend, nullptr, {}, static_cast<size_t>(view.size()) * bytes(view.dtype)};
  if (backend->begin_copy_out) arrival.ticket = backend->begin_copy_out(view.data, arrival.size);
  else {
    arrival.bytes.resize(arrival.size);
    backend->copy_out(arrival.bytes.data(), view.data, arrival.size);
  }
  context.arrivals.emplace(context.nextNumber, std::move(arrival));
  return Napi::Number::New(info.Env(), static_cast<double>(context.nextNumber++));
}

/// endRead(number, array): waits for that copy and takes its bytes
Napi::Value endRead(const Napi::CallbackInfo& info) {
  Context& context = contextOf(info.Env());
  const auto found = context.arrivals.find(integer(info.Env(), info[0]));
  if (found == context.arrivals.end()) throw Error("bad-argument", "read: this copy was taken already.");
  const auto [data, size] = bytesOf(info[1]);
  const Arrival arrival = std::move(found->second);
  context.arrivals.erase(found);
  if (size != arrival.size)
    throw Error("bad-argument", "read: the array has " + std::to_string(size) + " bytes, the tensor " + std::to_string(arrival.size) + ".");
  if (arrival.ticket) arrival.backend->end_copy_out(arrival.ticket, data, size);
  else memcpy(data, arrival.bytes.data(), size);
  return {};
}

}  // namespace

void addTensors(Napi::Object exports) {
  addPlain(exports, "create", create);
  addPlain(exports, "view", makeView);
  addPlain(exports, "release", release);
  add<write>(exports, "write");
  add<read>(exports, "read");
  add<beginRead>(exports, "beginRead");
  add<endRead>(exports, "endRead");
  exports["mapFile"] = Napi::Function::New(exports.Env(), mapFile, "mapFile");
}

}  // namespace moe::binding
