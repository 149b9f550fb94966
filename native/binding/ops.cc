// One binding for each line of the table: arguments are read, checked against the line's contract, and passed to the backend
// on which the tensors live; a graph that is being recorded keeps the call.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "../contract.h"
#include "../profile.h"
#include "context.h"

namespace moe::binding {

namespace {

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

/// The call itself. What fails inside a backend is told with the call's shapes, and for lack of memory with who holds it.
template <class... A> void make(const Backend* backend, void (*Backend::*member)(A...), const Contract& contract, const Reader& reader, std::tuple<A...>& arguments) {
  const profile::Range range(contract.op.c_str());
  try {
    std::apply([&](A&... a) { (backend->*member)(a...); }, arguments);
  } catch (const Error& e) {
    if (!strcmp(e.code, "bad-argument")) throw;
    const std::string held = strcmp(e.code, "out-of-memory") ? "" : " Held now: " + reader.owner->held() + ".";
    throw Error(e.code, e.what() + held + " The call was " + contract.describe(reader.at(0).data()) + ".");
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
#include "../ops.def"
#undef OP

struct Line {
  const char *name, *parameters, *contract;
  napi_callback bind;
};
const Line kTable[] = {
#define OP(name, params, contract) {#name, #params, contract, bind_##name},
#include "../ops.def"
#undef OP
};

/// table() -> [{ name, parameters, contract }]
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

}  // namespace

void addOps(Napi::Object exports) {
  auto ops = Napi::Object::New(exports.Env());
  for (const Line& line : kTable) addPlain(ops, line.name, line.bind);
  exports["ops"] = ops;
  add<table>(exports, "table");
}

}  // namespace moe::binding
