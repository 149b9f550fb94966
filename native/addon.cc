// The JavaScript boundary. What it exports, and to which file each function belongs:
//
//   binding/ops.cc      ops, table                       one function for each line of ops.def
//   binding/tensors.cc  create, view, release, write, read, beginRead, endRead, mapFile
//   binding/graphs.cc   beginGraph .. graphFacts, pushRange, popRange, profiled
//   binding/ranks.cc    createSegment, openRank, allReduce, reduceScatter, allGather, barrier, ..
//   binding/devices.cc  openCpu, openLibrary, memory, setTag, synchronize, timers, hostInfo, setThreads, setErrorClass
//
// src/native.ts has their types.
#include "binding/context.h"

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  using namespace moe::binding;
  napi_set_instance_data(env, new Context, [](napi_env, void* data, void*) { delete static_cast<Context*>(data); }, nullptr);
  exports["abi"] = moe::kAbi;
  addOps(exports);
  addTensors(exports);
  addGraphs(exports);
  addDevices(exports);
  addRanks(exports);
  return exports;
}
NODE_API_MODULE(train_moe, Init)
