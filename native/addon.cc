// The JavaScript boundary: handles, argument readers, one binding per line of the table, errors.
//
// A tensor is a number in JavaScript: slot + generation * 2^24. The slot table owns the view, the view counts on its
// buffer, and nothing here has a finalizer: JavaScript's scopes release handles (src/tensor/scope.ts). All state is per
// environment, so the addon works in several worker threads at once.
#include <napi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "backend.h"
#include "contract.h"
#include "graph.h"
#include "host.h"
#include "mapped_file.h"
#include "memory.h"
#include "profile.h"

namespace moe {
namespace {

constexpr int64_t kSlotBits = 24;
constexpr int64_t kSlotMask = (int64_t{1} << kSlotBits) - 1;

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
  int64_t nextNumber = 1;  // of graphs and arrivals
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

Context& contextOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Context*>(data);
}

/// Throws the package's own error class, so that `instanceof TrainMoeError` and `.code` hold for native failures too.
napi_value raise(napi_env env, const char* code, const char* sentence) {
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

int64_t integer(napi_env env, napi_value value) {
  int64_t out = 0;
  if (napi_get_value_int64(env, value, &out) != napi_ok) throw Error("bad-argument", "a number was expected by the native call.");
  return out;
}

double number(napi_env env, napi_value value) {
  double out = 0;
  if (napi_get_value_double(env, value, &out) != napi_ok) throw Error("bad-argument", "a number was expected by the native call.");
  return out;
}

// ---- one call of a line of the table ----------------------------------------------------------------------------------

/// A Float64Array's numbers, which stay JavaScript's.
std::pair<const double*, int64_t> doublesOf(napi_env env, napi_value array) {
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, array, &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array)
    throw Error("bad-argument", "a Float64Array was expected by the native call.");
  return {static_cast<const double*>(data), static_cast<int64_t>(length)};
}

/// Reads arguments one by one; collects the views for the contract check.
struct Reader {
  static constexpr int kMost = 24;
  using Views = std::array<View*, kMost>;
  /// Where a parameter's view is, and how far the next one of its list is from it.
  struct Place {
    View* first;
    size_t step;
  };

  napi_env env;
  Context& context;
  const napi_value* values;
  int next = 0;
  std::array<Place, kMost> places{};
  int count = 0;
  int64_t length = -1;                       // of the lists; -1: there is none
  std::vector<std::shared_ptr<void>> lists;  // their memory
  const Allocator* owner = nullptr;

  void load(View& view, int64_t id) {
    if (!id) return;
    view = context.at(id).view;
    if (owner && view.buffer->owner != owner)
      throw Error("bad-argument", "the tensors of one call live on different backends; move them to one first.");
    owner = view.buffer->owner;
  }
  void tensor(View& view) {
    load(view, integer(env, values[next++]));
    places[count++] = {&view, 0};
  }
  /// Makes the list whose items `make(item, number)` reads from the next Float64Array.
  template <class T, class F> std::vector<T>& list(List<T>& value, F&& make) {
    const auto [numbers, n] = doublesOf(env, values[next++]);
    if (length >= 0 && n != length)
      throw Error("bad-argument", "lists of " + std::to_string(length) + " and of " + std::to_string(n) + " were given to one native call; all must have the same length.");
    if (n == 0) throw Error("bad-argument", "an empty list was given to a native call; give at least one tensor.");
    length = n;
    const auto items = std::make_shared<std::vector<T>>(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; i++) make((*items)[static_cast<size_t>(i)], numbers[i]);
    lists.push_back(items);
    value = {items->data(), n};
    return *items;
  }
  template <class T> void tensors(List<T>& value) {
    auto& items = list(value, [&](T& item, double id) { load(item, static_cast<int64_t>(id)); });
    places[count++] = {items.data(), sizeof(T)};
  }

  /// The views that belong together at one place of the lists.
  Views at(int64_t item) const {
    Views views{};
    for (int i = 0; i < count; i++) views[i] = reinterpret_cast<View*>(reinterpret_cast<char*>(places[i].first) + static_cast<size_t>(item) * places[i].step);
    return views;
  }
  void check(const Contract& contract) const {
    for (int64_t i = 0; i < std::max<int64_t>(length, 1); i++) contract.check(at(i).data());
  }
};

template <class A> struct Read {
  static void read(Reader& r, A& value) { r.tensor(value); }
};
template <> struct Read<Acc> {
  static void read(Reader& r, Acc& value) {
    r.tensor(value);
    value.beta = static_cast<float>(number(r.env, r.values[r.next++]));
  }
};
template <> struct Read<float> {
  static void read(Reader& r, float& value) { value = static_cast<float>(number(r.env, r.values[r.next++])); }
};
template <> struct Read<double> {
  static void read(Reader& r, double& value) { value = number(r.env, r.values[r.next++]); }
};
template <> struct Read<int64_t> {
  static void read(Reader& r, int64_t& value) { value = integer(r.env, r.values[r.next++]); }
};
template <> struct Read<bool> {
  static void read(Reader& r, bool& value) {
    if (napi_get_value_bool(r.env, r.values[r.next++], &value) != napi_ok)
      throw Error("bad-argument", "true or false was expected by the native call.");
  }
};

template <class T> struct Read<List<T>> {
  static void read(Reader& r, List<T>& value) { r.tensors(value); }
};
template <> struct Read<List<float>> {
  static void read(Reader& r, List<float>& value) {
    r.list(value, [](float& item, double given) { item = static_cast<float>(given); });
  }
};

template <class A> constexpr int kWidth = std::is_same_v<A, Acc> ? 2 : 1;
template <class A> constexpr bool kWrites = std::is_same_v<A, Out> || std::is_same_v<A, Mut> || std::is_same_v<A, Acc> || std::is_same_v<A, MaybeOut>;

template <class A> void touched(const A& value) {
  if constexpr (kWrites<A>)
    if (value.buffer) value.buffer->version++;
}
template <class T> void touched(const List<T>& list) {
  for (const T& item : list) touched(item);
}

/// The call itself. What fails inside a backend is told with the call's shapes.
template <class... A> void make(const Backend* backend, void (*Backend::*member)(A...), const Contract& contract, const Reader& reader, std::tuple<A...>& arguments) {
  const profile::Range range(contract.op.c_str());
  try {
    std::apply([&](A&... a) { (backend->*member)(a...); }, arguments);
  } catch (const Error& e) {
    if (!strcmp(e.code, "bad-argument")) throw;
    throw Error(e.code, std::string(e.what()) + " The call was " + contract.describe(reader.at(0).data()) + ".");
  }
}

template <class A> void use(Graph& graph, const A& value) {
  if constexpr (std::is_base_of_v<View, A>)
    if (value.buffer) graph.uses(value.buffer, kWrites<A>);
}
template <class T> void use(Graph& graph, const List<T>& list) {
  for (const T& item : list) use(graph, item);
}

/// Keeps the call, and the memory of its lists, for the graph that is being recorded.
template <class... A>
void keep(Graph& graph, const Backend* backend, void (*Backend::*member)(A...), const std::tuple<A...>& arguments, const std::vector<std::shared_ptr<void>>& lists) {
  std::apply([&](const A&... a) { (use(graph, a), ...); }, arguments);
  for (const auto& list : lists) graph.keeps(list);
  graph.add([=] { std::apply([&](const A&... a) { (backend->*member)(a...), (touched(a), ...); }, arguments); });
}

template <class... A>
napi_value call(napi_env env, napi_callback_info info, void (*Backend::*member)(A...), const Contract& contract) {
  constexpr int width = (kWidth<A> + ... + 0);
  size_t argc = width;
  napi_value values[width];
  napi_get_cb_info(env, info, &argc, values, nullptr, nullptr);
  return guarded(env, [&]() -> napi_value {
    if (argc != width)
      throw Error("internal", contract.op + ": " + std::to_string(argc) + " arguments given, " + std::to_string(width) + " expected; rebuild (npm run build).");
    Reader reader{env, contextOf(env), values};
    std::tuple<A...> arguments;
    std::apply([&](A&... a) { (Read<A>::read(reader, a), ...); }, arguments);
    reader.check(contract);
    if (!reader.owner) throw Error("bad-argument", contract.op + ": no tensor was given.");
    const Backend* backend = reader.owner->backend();
    Graph* graph = reader.context.recording;
    if (graph && graph->allocator() != reader.owner)
      throw Error("bad-argument", contract.op + ": a graph of another device is being recorded; it would not repeat this call.");
    make(backend, member, contract, reader, arguments);
    std::apply([](A&... a) { (touched(a), ...); }, arguments);
    if (graph) keep(*graph, backend, member, arguments, reader.lists);
    return nullptr;
  });
}

#define OP(name, params, contract)                                                                        \
  napi_value bind_##name(napi_env env, napi_callback_info info) {                                         \
    return guarded(env, [&]() -> napi_value {                                                             \
      static const Contract parsed(#name, #params, contract);                                             \
      return call(env, info, &Backend::name, parsed);                                                     \
    });                                                                                                   \
  }
#include "ops.def"
#undef OP

struct Line {
  const char *name, *parameters, *contract;
  napi_callback bind;
};
const Line kTable[] = {
#define OP(name, params, contract) {#name, #params, contract, bind_##name},
#include "ops.def"
#undef OP
};

// ---- memory and handles ------------------------------------------------------------------------------------------------

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
    const int64_t backend = given[0];
    View view;
    view.dtype = dtypeOf(given[1]);
    setShape(view, given, 3);
    view.buffer = context.backends.at(backend).allocator->create(view.size() * bytes(view.dtype), context.tag, [&] { return describe(view); });
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

template <class Copy> napi_value transfer(const Napi::CallbackInfo& info, const char* verb, Copy&& copy) {
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
  return nullptr;
}

Napi::Value write(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    return transfer(info, "write", [](const View& view, char* data, size_t size) {
      view.buffer->owner->backend()->copy_in(view.data, data, size);
      view.buffer->version++;
    });
  })};
}

Napi::Value read(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    return transfer(info, "read", [](const View& view, char* data, size_t size) { view.buffer->owner->backend()->copy_out(data, view.data, size); });
  })};
}

/// beginRead(id) -> number of a copy to the host that endRead() takes; the host does not wait for the device here
Napi::Value beginRead(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
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
  })};
}

/// endRead(number, array): waits for that copy and takes its bytes
Napi::Value endRead(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
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
    return nullptr;
  })};
}

// ---- graphs ------------------------------------------------------------------------------------------------------------

/// beginGraph(backend): from now on the ops of that backend run and are recorded
Napi::Value beginGraph(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    Context& context = contextOf(info.Env());
    if (context.recording) throw Error("bad-argument", "a graph is being recorded already; graphs do not nest.");
    auto graph = std::make_unique<Graph>(context.backends.at(integer(info.Env(), info[0])).allocator.get());
    context.recording = graph.get();
    context.graphs.emplace(context.nextNumber, std::move(graph));
    return Napi::Number::New(info.Env(), static_cast<double>(context.nextNumber++));
  })};
}

Graph& graphOf(const Napi::CallbackInfo& info) {
  const auto& graphs = contextOf(info.Env()).graphs;
  const auto found = graphs.find(integer(info.Env(), info[0]));
  if (found == graphs.end()) throw Error("bad-argument", "this graph was disposed already.");
  return *found->second;
}

/// endGraph(number): ends the recording
Napi::Value endGraph(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    graphOf(info).close();
    contextOf(info.Env()).recording = nullptr;
    return nullptr;
  })};
}

/// launchGraph(number): makes the recorded calls again
Napi::Value launchGraph(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    if (contextOf(info.Env()).recording) throw Error("bad-argument", "a graph cannot be launched while one is recorded.");
    const profile::Range range("graph");
    graphOf(info).launch();
    return nullptr;
  })};
}

/// destroyGraph(number): frees what it holds; what was made in it and is alive stays
Napi::Value destroyGraph(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    Context& context = contextOf(info.Env());
    Graph& graph = graphOf(info);
    if (context.recording == &graph) context.recording = nullptr;
    context.graphs.erase(integer(info.Env(), info[0]));
    return nullptr;
  })};
}

/// graphFacts(number) -> { calls, bytes, onDevice }
Napi::Value graphFacts(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    const Graph& graph = graphOf(info);
    auto out = Napi::Object::New(info.Env());
    out["calls"] = static_cast<double>(graph.calls());
    out["bytes"] = static_cast<double>(graph.bytes());
    out["onDevice"] = graph.onDevice();
    return out;
  })};
}

/// pushRange(name), popRange(): a name around ops for a profiler; profiled() tells whether one listens
Napi::Value pushRange(const Napi::CallbackInfo& info) {
  if (profile::active()) profile::push(std::string(info[0].ToString()).c_str());
  return info.Env().Undefined();
}
Napi::Value popRange(const Napi::CallbackInfo& info) {
  if (profile::active()) profile::pop();
  return info.Env().Undefined();
}
Napi::Value profiled(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), profile::active()); }

/// setTag(name) -> the tag that was set before; names what is allocated from now on
Napi::Value setTag(const Napi::CallbackInfo& info) {
  Context& context = contextOf(info.Env());
  const std::string name = info[0].ToString();
  auto& names = tagNames();
  const std::string before = names[context.tag];
  size_t index = 0;
  while (index < names.size() && names[index] != name) index++;
  if (index == names.size()) names.push_back(name);
  context.tag = static_cast<int>(index);
  return Napi::String::New(info.Env(), before);
}

/// memory(backend, resetPeak) -> { live, peak, cached, tensors, tags: { name: { live, peak, blocks } } }
Napi::Value memory(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    const Napi::Env env = info.Env();
    Context& context = contextOf(env);
    Allocator& allocator = *context.backends.at(integer(env, info[0])).allocator;
    const auto& use = allocator.use();
    auto out = Napi::Object::New(env);
    out["live"] = static_cast<double>(use.live);
    out["peak"] = static_cast<double>(use.peak);
    out["cached"] = static_cast<double>(use.cached);
    out["ceiling"] = static_cast<double>(allocator.ceiling());
    out["tensors"] = static_cast<double>(context.slots.size() - context.freeSlots.size());
    auto tags = Napi::Object::New(env);
    for (size_t i = 0; i < use.tags.size(); i++) {
      auto tag = Napi::Object::New(env);
      tag["live"] = static_cast<double>(use.tags[i].live);
      tag["peak"] = static_cast<double>(use.tags[i].peak);
      tag["blocks"] = static_cast<double>(use.tags[i].blocks);
      tags[tagNames()[i]] = tag;
    }
    out["tags"] = tags;
    if (info[1].ToBoolean()) allocator.resetPeak();
    return out;
  })};
}

/// limitMemory(backend, bytes): allocations beyond it fail; 0 lifts it
Napi::Value limitMemory(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    contextOf(info.Env()).backends.at(integer(info.Env(), info[0])).allocator->limit(static_cast<size_t>(integer(info.Env(), info[1])));
    return nullptr;
  })};
}

Napi::Value trimMemory(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    contextOf(info.Env()).backends.at(integer(info.Env(), info[0])).allocator->trim();
    return nullptr;
  })};
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    contextOf(info.Env()).backends.at(integer(info.Env(), info[0])).backend->synchronize();
    return nullptr;
  })};
}

/// beginTimer(backend), endTimer(backend) -> seconds between the two on the device's clock. The first returns false where the
/// host's clock is as good.
Napi::Value beginTimer(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    const Backend* backend = contextOf(info.Env()).backends.at(integer(info.Env(), info[0])).backend;
    if (backend->begin_timer) backend->begin_timer();
    return Napi::Boolean::New(info.Env(), backend->begin_timer != nullptr);
  })};
}
Napi::Value endTimer(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    return Napi::Number::New(info.Env(), contextOf(info.Env()).backends.at(integer(info.Env(), info[0])).backend->end_timer());
  })};
}

// ---- backends and the host ---------------------------------------------------------------------------------------------

double addBackend(Context& context, const Backend* backend) {
  if (backend->abi != kAbi)
    throw Error("no-device", std::string("the backend library ") + backend->name + " has ABI " + std::to_string(backend->abi) + ", this addon " +
                                 std::to_string(kAbi) + "; rebuild it (npm run build).");
  for (size_t i = 0; i < context.backends.size(); i++)
    if (context.backends[i].backend == backend) return static_cast<double>(i);
  context.backends.push_back({backend, std::make_unique<Allocator>(backend)});
  return static_cast<double>(context.backends.size() - 1);
}

/// openCpu(isa or undefined) -> { index, name, fastBf16 }: the CPU backend of the best instruction set, or of the one named
Napi::Value openCpu(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    const std::string isa = info[0].IsString() ? std::string(info[0].ToString()) : "";
    const Backend* backend = host::cpuBackend(isa);
    auto out = Napi::Object::New(info.Env());
    out["index"] = addBackend(contextOf(info.Env()), backend);
    out["name"] = std::string(backend->name);
    out["fastBf16"] = host::multipliesBf16Fast(backend);
    return out;
  })};
}

/// openLibrary(path) -> { index, name }: a backend from a shared library
Napi::Value openLibrary(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    const Backend* backend = host::libraryBackend(info[0].ToString());
    auto out = Napi::Object::New(info.Env());
    out["index"] = addBackend(contextOf(info.Env()), backend);
    out["name"] = std::string(backend->name);
    return out;
  })};
}

/// hostInfo() -> { features: [...], isas: [...], threads }
Napi::Value hostInfo(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto out = Napi::Object::New(env);
  const auto list = [&](const std::vector<std::string>& words) {
    auto array = Napi::Array::New(env, words.size());
    for (uint32_t i = 0; i < words.size(); i++) array[i] = words[i];
    return array;
  };
  out["features"] = list(host::cpuFeatures());
  out["isas"] = list(host::cpuIsas());
  out["threads"] = host::threads();
  return out;
}

Napi::Value setThreads(const Napi::CallbackInfo& info) {
  return {info.Env(), guarded(info.Env(), [&]() -> napi_value {
    host::setThreads(static_cast<int>(integer(info.Env(), info[0])));
    return nullptr;
  })};
}

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  contextOf(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Value table(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto out = Napi::Array::New(env);
  uint32_t i = 0;
  for (const Line& line : kTable) {
    auto row = Napi::Object::New(env);
    row["name"] = line.name;
    row["parameters"] = line.parameters;
    row["contract"] = line.contract;
    out[i++] = row;
  }
  return out;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  napi_set_instance_data(env, new Context, [](napi_env, void* data, void*) { delete static_cast<Context*>(data); }, nullptr);
  exports["abi"] = kAbi;
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) { exports[name] = Napi::Function::New(env, function, name); };
  const auto addPlain = [&](Napi::Object to, const char* name, napi_callback function) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    to[name] = Napi::Value(env, value);
  };
  addPlain(exports, "create", create);
  addPlain(exports, "view", makeView);
  addPlain(exports, "release", release);
  add("write", write);
  add("read", read);
  add("beginRead", beginRead);
  add("endRead", endRead);
  add("beginGraph", beginGraph);
  add("endGraph", endGraph);
  add("launchGraph", launchGraph);
  add("destroyGraph", destroyGraph);
  add("graphFacts", graphFacts);
  add("pushRange", pushRange);
  add("popRange", popRange);
  add("profiled", profiled);
  add("setTag", setTag);
  add("memory", memory);
  add("limitMemory", limitMemory);
  add("trimMemory", trimMemory);
  add("synchronize", synchronize);
  add("mapFile", mapFile);
  add("beginTimer", beginTimer);
  add("endTimer", endTimer);
  add("openCpu", openCpu);
  add("openLibrary", openLibrary);
  add("hostInfo", hostInfo);
  add("setThreads", setThreads);
  add("setErrorClass", setErrorClass);
  add("table", table);
  auto ops = Napi::Object::New(env);
  for (const Line& line : kTable) addPlain(ops, line.name, line.bind);
  exports["ops"] = ops;
  return exports;
}

}  // namespace
}  // namespace moe

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return moe::init(env, exports); }
NODE_API_MODULE(train_moe, Init)
