// Graphs: ops that are recorded once and launched as a whole; and the names that profilers show.
#include <memory>
#include <string>
#include <utility>

#include "../profile.h"
#include "context.h"

namespace moe::binding {

namespace {

/// beginGraph(backend): from now on the ops of that backend run and are recorded
Napi::Value beginGraph(const Napi::CallbackInfo& info) {
  Context& context = contextOf(info.Env());
  if (context.recording) throw Error("bad-argument", "a graph is being recorded already; graphs do not nest.");
  auto graph = std::make_unique<Graph>(context.backend(integer(info.Env(), info[0])).allocator.get());
  context.recording = graph.get();
  context.graphs.emplace(context.nextNumber, std::move(graph));
  return Napi::Number::New(info.Env(), static_cast<double>(context.nextNumber++));
}

Graph& graphOf(const Napi::CallbackInfo& info) {
  const auto& graphs = contextOf(info.Env()).graphs;
  const auto found = graphs.find(integer(info.Env(), info[0]));
  if (found == graphs.end()) throw Error("bad-argument", "this graph was disposed already.");
  return *found->second;
}

/// endGraph(number): ends the recording
Napi::Value endGraph(const Napi::CallbackInfo& info) {
  graphOf(info).close();
  contextOf(info.Env()).recording = nullptr;
  return {};
}

/// launchGraph(number): makes the recorded calls again
Napi::Value launchGraph(const Napi::CallbackInfo& info) {
  if (contextOf(info.Env()).recording) throw Error("bad-argument", "a graph cannot be launched while one is recorded.");
  const profile::Range range("graph");
  graphOf(info).launch();
  return {};
}

/// destroyGraph(number): frees what it holds; what was made in it and is alive stays
Napi::Value destroyGraph(const Napi::CallbackInfo& info) {
  Context& context = contextOf(info.Env());
  Graph& graph = graphOf(info);
  if (context.recording == &graph) context.recording = nullptr;
  context.graphs.erase(integer(info.Env(), info[0]));
  return {};
}

/// graphFacts(number) -> { calls, bytes, onDevice }
Napi::Value graphFacts(const Napi::CallbackInfo& info) {
  const Graph& graph = graphOf(info);
  auto out = Napi::Object::New(info.Env());
  out["calls"] = static_cast<double>(graph.calls());
  out["bytes"] = static_cast<double>(graph.bytes());
  out["onDevice"] = graph.onDevice();
  return out;
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

}  // namespace

void addGraphs(Napi::Object exports) {
  add<beginGraph>(exports, "beginGraph");
  add<endGraph>(exports, "endGraph");
  add<launchGraph>(exports, "launchGraph");
  add<destroyGraph>(exports, "destroyGraph");
  add<graphFacts>(exports, "graphFacts");
  add<pushRange>(exports, "pushRange");
  add<popRange>(exports, "popRange");
  add<profiled>(exports, "profiled");
}

}  // namespace moe::binding
