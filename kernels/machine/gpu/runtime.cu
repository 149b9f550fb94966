// The CUDA device. Every thread that computes (a JavaScript environment each) has a stream of its own with its scratch memory.
//
// Memory: native/memory.h caches blocks by size and hands a freed block to the next op, which is safe because one stream keeps
// the order. What it does not have comes from the device's memory pool (cudaMallocFromPoolAsync), whose release threshold is
// lifted, so that growing and trimming do not stop the device. Devices without pools use plain allocations.
//
// Copies: into the device through a ring of pinned pieces (transfer.cuh), so that the caller goes on at once; out of it with a
// wait, or by ticket, which waits for that copy alone.
//
// Graphs: launches of the stream between beginCapture and endCapture. Scratch memory that a graph knows is never given back
// while graphs live.
#include "machine.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "transfer.cuh"

namespace moe::machine {

const char* const kName = "cuda";
const bool kFresh = false;

namespace {

constexpr int kDevice = 0;  // CUDA_VISIBLE_DEVICES chooses
constexpr int kSlots = 16;

/// What is known of the device, found once.
struct Device {
  int multiprocessors = 0;
  size_t sharedLimit = 0, memory = 0;
  cudaMemPool_t pool = nullptr;
  bool wait = false;  // TRAIN_MOE_SYNC=1
};
Device device;
bool found = false;

/// What a computing thread has of its own.
struct Thread {
  cudaStream_t stream = nullptr;
  int32_t* faultHost = nullptr;
  int32_t* faultDevice = nullptr;
  const char* op = "";
  bool capturing = false;
  int graphs = 0;
  struct Slot {
    void* data = nullptr;
    size_t bytes = 0;
  } slots[kSlots];
  std::vector<void*> outgrown;  // scratch memory that graphs may still point to
  void (*giveBack)(void* owner) = nullptr;
  void* owner = nullptr;
  cudaEvent_t timer[2] = {};
  InRing in;
  OutTickets out;
};
thread_local Thread self;

/// The sentence of a failed start, by what a user can do about it.
bool refuse(char* why, size_t size, cudaError_t status) {
  constexpr int major = CUDART_VERSION / 1000, minor = CUDART_VERSION / 10 % 100;
  int driver = 0;
  if (status == cudaErrorInsufficientDriver && (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0))
    snprintf(why, size, "there is no NVIDIA driver (libcuda.so.1); install one that knows CUDA %d.%d", major, minor);
  else if (status == cudaErrorInsufficientDriver)
    snprintf(why, size, "the NVIDIA driver knows CUDA %d.%d and %d.%d is needed; install a newer driver", driver / 1000, driver / 10 % 100, major, minor);
  else if (status == cudaErrorNoDevice)
    snprintf(why, size, "there is an NVIDIA driver but no GPU that it may use (CUDA_VISIBLE_DEVICES?)");
  else
    snprintf(why, size, "CUDA does not start: %s", cudaGetErrorString(status));
  return false;
}

/// The device's pool, kept from giving memory back by itself; null where there is none.
cudaMemPool_t openPool() {
  int pools = 0;
  cudaMemPool_t pool;
  if (cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, kDevice) != cudaSuccess || !pools) return nullptr;
  if (cudaDeviceGetDefaultMemPool(&pool, kDevice) != cudaSuccess) return nullptr;
  uint64_t threshold = UINT64_MAX;
  return cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold) == cudaSuccess ? pool : nullptr;
}

cudaError_t openThread() {
  cudaStream_t stream;
  void* fault;
  cudaError_t status = cudaSetDevice(kDevice);
  if (status == cudaSuccess) status = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (status == cudaSuccess) status = cudaHostAlloc(&fault, sizeof(int32_t), cudaHostAllocMapped);
  if (status == cudaSuccess) status = cudaHostGetDevicePointer(reinterpret_cast<void**>(&self.faultDevice), fault, 0);
  if (status != cudaSuccess) return status;
  self.faultHost = static_cast<int32_t*>(fault);
  *self.faultHost = 0;
  self.stream = stream;
  return cudaSuccess;
}

Thread& thread() {
  if (!self.stream) check(openThread(), "opening a stream");
  return self;
}

void throwFault(Thread& t) {
  if (!*t.faultHost) return;
  const Fault fault = static_cast<Fault>(*t.faultHost);
  *t.faultHost = 0;
  throw Error("bad-argument", std::string(device.wait ? t.op : "an op that ran before this wait") + ": " + sentence(fault));
}

void waitAndCheck(const char* what) {
  Thread& t = thread();
  check(cudaStreamSynchronize(t.stream), what);
  throwFault(t);
}

void releaseOn(cudaStream_t stream, void* data) {
  if (device.pool && stream) cudaFreeAsync(data, stream);
  else cudaFree(data);
}

}  // namespace

cudaStream_t stream() { return thread().stream; }

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const char* hint = device.wait ? "" : "; TRAIN_MOE_SYNC=1 names the op that failed";
  throw Error(status == cudaErrorMemoryAllocation ? "out-of-memory" : "internal",
              std::string(self.op) + (*self.op ? ": " : "") + "CUDA reports \"" + cudaGetErrorString(status) + "\" (" + what + ")" + hint + ".");
}

bool usable(char* why, size_t size) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (found) return true;
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count == 0) status = cudaErrorNoDevice;
  if (status != cudaSuccess) return refuse(why, size, status);
  cudaDeviceProp properties;
  if ((status = cudaSetDevice(kDevice)) != cudaSuccess || (status = cudaGetDeviceProperties(&properties, kDevice)) != cudaSuccess) return refuse(why, size, status);
  if (properties.major < 8) {
    snprintf(why, size, "the GPU %s has compute capability %d.%d and 8.0 (Ampere) or newer is needed", properties.name, properties.major, properties.minor);
    return false;
  }
  if ((status = openThread()) != cudaSuccess) return refuse(why, size, status);
  device.multiprocessors = properties.multiProcessorCount;
  device.sharedLimit = properties.sharedMemPerBlockOptin;
  device.memory = properties.totalGlobalMem;
  device.pool = openPool();
  const char* wait = getenv("TRAIN_MOE_SYNC");
  device.wait = wait && !strcmp(wait, "1");
  found = true;
  return true;
}

void* allocate(size_t bytes) {
  Thread& t = thread();
  const size_t wanted = bytes ? bytes : 1;
  void* data = nullptr;
  if (!device.pool) {
    if (cudaMalloc(&data, wanted) == cudaSuccess) return data;
    cudaGetLastError();  // "no room" is an answer here, not an error that sticks
    return nullptr;
  }
  if (cudaMallocFromPoolAsync(&data, wanted, device.pool, t.stream) == cudaSuccess) return data;
  cudaGetLastError();
  // What was given back lies in the pool in pieces until the stream has passed it: let it go, and ask once more.
  cudaStreamSynchronize(t.stream);
  cudaMemPoolTrimTo(device.pool, 0);
  if (cudaMallocFromPoolAsync(&data, wanted, device.pool, t.stream) == cudaSuccess) return data;
  cudaGetLastError();
  return nullptr;
}

void release(void* data, size_t) { releaseOn(self.stream, data); }

void copyIn(void* to, const void* from, size_t bytes) {
  Thread& t = thread();
  t.in.copy(to, from, bytes, t.stream);
}

void copyOut(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, thread().stream), "copy from the GPU");
  waitAndCheck("copy from the GPU");
}

void copyWithin(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, thread().stream), "copy on the GPU");
}

void onShortage(void (*giveBack)(void* owner), void* owner) {
  self.giveBack = giveBack;
  self.owner = owner;
}

void synchronize() { waitAndCheck("wait"); }

size_t capacity() { return device.memory; }

void beginTimer() {
  Thread& t = thread();
  for (cudaEvent_t& event : t.timer)
    if (!event) check(cudaEventCreate(&event), "timer");
  check(cudaEventRecord(t.timer[0], t.stream), "timer");
}

double endTimer() {
  Thread& t = thread();
  check(cudaEventRecord(t.timer[1], t.stream), "timer");
  waitAndCheck("timer");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, t.timer[0], t.timer[1]), "timer");
  return milliseconds / 1e3;
}

void* beginCopyOut(const void* from, size_t bytes) {
  Thread& t = thread();
  return t.out.begin(from, bytes, t.stream);
}

void endCopyOut(void* ticket, void* to, size_t bytes) {
  Thread& t = thread();
  t.out.end(ticket, to, bytes);
  if (to) throwFault(t);
}

void* scratch(int slot, size_t bytes) {
  if (slot < 0 || slot >= kSlots) throw Error("internal", "there is no scratch slot of that number");
  Thread& t = thread();
  Thread::Slot& s = t.slots[slot];
  if (s.bytes >= bytes) return s.data;
  if (t.capturing) throw Error("internal", "scratch memory grew while a graph was recorded");
  if (s.data && t.graphs) t.outgrown.push_back(s.data);
  else if (s.data) releaseOn(t.stream, s.data);
  s = {allocate(bytes), bytes};
  if (!s.data && t.giveBack) {
    t.giveBack(t.owner);
    s.data = allocate(bytes);
  }
  if (!s.data) {
    s.bytes = 0;
    throw Error("out-of-memory", std::string(t.op) + ": " + std::to_string(bytes) + " bytes of scratch memory are not free on the GPU; use a smaller batch.");
  }
  return s.data;
}

int multiprocessors() { return device.multiprocessors; }
size_t sharedLimit() { return device.sharedLimit; }

void enter(const char* op) { thread().op = op; }
void leave() {
  if (device.wait) waitAndCheck("wait after the op");
}

int32_t* faultWord() { return thread().faultDevice; }

bool beginCapture() {
  Thread& t = thread();
  if (device.wait) return false;  // ops that wait cannot be recorded, and failing ones are to be named
  t.op = "graph";
  check(cudaStreamBeginCapture(t.stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
  t.capturing = true;
  return true;
}

void* endCapture() {
  Thread& t = thread();
  t.capturing = false;
  t.op = "graph";
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  cudaError_t status = cudaStreamEndCapture(t.stream, &graph);
  if (status == cudaSuccess && graph) status = cudaGraphInstantiate(&ready, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  if (status != cudaSuccess || !ready) {
    cudaGetLastError();
    return nullptr;
  }
  t.graphs++;
  return ready;
}

void launchGraph(void* graph) {
  Thread& t = thread();
  t.op = "graph";
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), t.stream), "launching a graph");
}

void destroyGraph(void* graph) {
  Thread& t = thread();
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
  if (--t.graphs > 0) return;
  for (void* data : t.outgrown) releaseOn(t.stream, data);
  t.outgrown.clear();
}

void close() {
  Thread& t = self;
  if (!t.stream) return;
  cudaStreamSynchronize(t.stream);
  for (Thread::Slot& s : t.slots)
    if (s.data) releaseOn(t.stream, s.data);
  for (void* data : t.outgrown) releaseOn(t.stream, data);
  t.in.close();
  t.out.close();
  for (cudaEvent_t event : t.timer)
    if (event) cudaEventDestroy(event);
  cudaFreeHost(t.faultHost);
  cudaStreamSynchronize(t.stream);
  cudaStreamDestroy(t.stream);
  t = Thread();
}

}  // namespace moe::machine
