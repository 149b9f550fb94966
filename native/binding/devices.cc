// Devices: the backends that are open, their memory and clocks, and the machine they run on.
#include <memory>
#include <string>
#include <vector>

#include "../host.h"
#include "context.h"

namespace moe::binding {

namespace {

// ---- memory and clocks -------------------------------------------------------------------------------------------------

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
  const Napi::Env env = info.Env();
  Context& context = contextOf(env);
  Allocator& allocator = *context.backend(integer(env, info[0])).allocator;
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
}

/// limitMemory(backend, bytes): allocations beyond it fail; 0 lifts it
Napi::Value limitMemory(const Napi::CallbackInfo& info) {
  contextOf(info.Env()).backend(integer(info.Env(), info[0])).allocator->limit(static_cast<size_t>(integer(info.Env(), info[1])));
  return {};
}

Napi::Value trimMemory(const Napi::CallbackInfo& info) {
  contextOf(info.Env()).backend(integer(info.Env(), info[0])).allocator->trim();
  return {};
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  contextOf(info.Env()).backend(integer(info.Env(), info[0])).backend->synchronize();
  return {};
}

/// beginTimer(backend), endTimer(backend) -> seconds between the two on the device's clock. The first returns false where the
/// host's clock is as good.
Napi::Value beginTimer(const Napi::CallbackInfo& info) {
  const Backend* backend = contextOf(info.Env()).backend(integer(info.Env(), info[0])).backend;
  if (backend->begin_timer) backend->begin_timer();
  return Napi::Boolean::New(info.Env(), backend->begin_timer != nullptr);
}
Napi::Value endTimer(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), contextOf(info.Env()).backend(integer(info.Env(), info[0])).backend->end_timer());
}

// ---- backends and the host ---------------------------------------------------------------------------------------------

double addBackend(Context& context, const Backend* backend) {
  if (backend->abi != kAbi)
    throw Error("no-device", std::string("the backend library ") + backend->name + " has ABI " + std::to_string(backend->abi) + ", this addon " +
                                 std::to_string(kAbi) + "; rebuild it (npm run build).");
  for (size_t i = 0; i < context.backends.size(); i++)
    if (context.backends[i].backend == backend) return static_cast<double>(i);
  context.backends.push_back({backend, std::make_unique<Allocator>(backend)});
  if (backend->on_shortage)
    backend->on_shortage([](void* owner) { static_cast<Allocator*>(owner)->trim(); }, context.backends.back().allocator.get());
  return static_cast<double>(context.backends.size() - 1);
}

/// openCpu(isa or undefined) -> { index, name, fastBf16 }: the CPU backend of the best instruction set, or of the one named
Napi::Value openCpu(const Napi::CallbackInfo& info) {
  const std::string isa = info[0].IsString() ? std::string(info[0].ToString()) : "";
  const Backend* backend = host::cpuBackend(isa);
  auto out = Napi::Object::New(info.Env());
  out["index"] = addBackend(contextOf(info.Env()), backend);
  out["name"] = std::string(backend->name);
  out["fastBf16"] = host::multipliesBf16Fast(backend);
  return out;
}

/// openLibrary(path) -> { index, name }: a backend from a shared library
Napi::Value openLibrary(const Napi::CallbackInfo& info) {
  const Backend* backend = host::libraryBackend(info[0].ToString());
  auto out = Napi::Object::New(info.Env());
  out["index"] = addBackend(contextOf(info.Env()), backend);
  out["name"] = std::string(backend->name);
  return out;
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
  host::setThreads(static_cast<int>(integer(info.Env(), info[0])));
  return {};
}

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  contextOf(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

}  // namespace

void addDevices(Napi::Object exports) {
  add<setTag>(exports, "setTag");
  add<memory>(exports, "memory");
  add<limitMemory>(exports, "limitMemory");
  add<trimMemory>(exports, "trimMemory");
  add<synchronize>(exports, "synchronize");
  add<beginTimer>(exports, "beginTimer");
  add<endTimer>(exports, "endTimer");
  add<openCpu>(exports, "openCpu");
  add<openLibrary>(exports, "openLibrary");
  add<hostInfo>(exports, "hostInfo");
  add<setThreads>(exports, "setThreads");
  add<setErrorClass>(exports, "setErrorClass");
}

}  // namespace moe::binding
