// The CUDA device: one stream, plain allocations (native/memory.h caches them), a fault word in pinned memory.
#include "machine.cuh"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace moe::machine {

const char* const kName = "cuda";

namespace {

constexpr int kDevice = 0;  // CUDA_VISIBLE_DEVICES chooses
constexpr int kSlots = 16;

struct State {
  cudaStream_t stream = nullptr;
  int multiprocessors = 0;
  size_t sharedLimit = 0;
  int32_t* faultHost = nullptr;
  int32_t* faultDevice = nullptr;
  bool wait = false;  // TRAIN_MOE_SYNC=1
  const char* op = "";
  struct Slot {
    void* data = nullptr;
    size_t bytes = 0;
  } slots[kSlots];
};
State state;

/// The sentence of a failed start, by what a user can do about it.
bool refuse(char* why, size_t size, cudaError_t status) {
  if (status == cudaErrorInsufficientDriver)
    snprintf(why, size, "the NVIDIA driver is older than CUDA %d.%d asks for, or there is none; install a newer driver", CUDART_VERSION / 1000, CUDART_VERSION / 10 % 100);
  else if (status == cudaErrorNoDevice)
    snprintf(why, size, "there is an NVIDIA driver but no GPU that it may use (CUDA_VISIBLE_DEVICES?)");
  else
    snprintf(why, size, "CUDA does not start: %s", cudaGetErrorString(status));
  return false;
}

void waitAndCheck(const char* what) {
  check(cudaStreamSynchronize(state.stream), what);
  if (!*state.faultHost) return;
  const Fault fault = static_cast<Fault>(*state.faultHost);
  *state.faultHost = 0;
  throw Error("bad-argument", std::string(state.wait ? state.op : "an op that ran before this wait") + ": " + sentence(fault));
}

}  // namespace

cudaStream_t stream() { return state.stream; }

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const char* hint = state.wait ? "" : "; TRAIN_MOE_SYNC=1 names the op that failed";
  throw Error(status == cudaErrorMemoryAllocation ? "out-of-memory" : "internal",
              std::string(state.op) + ": CUDA reports \"" + cudaGetErrorString(status) + "\" (" + what + ")" + hint + ".");
}

bool usable(char* why, size_t size) {
  if (state.stream) return true;
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count == 0) status = cudaErrorNoDevice;
  if (status != cudaSuccess) return refuse(why, size, status);
  cudaDeviceProp device;
  if ((status = cudaSetDevice(kDevice)) != cudaSuccess || (status = cudaGetDeviceProperties(&device, kDevice)) != cudaSuccess) return refuse(why, size, status);
  if (device.major < 8) {
    snprintf(why, size, "the GPU %s has compute capability %d.%d and 8.0 (Ampere) or newer is needed", device.name, device.major, device.minor);
    return false;
  }
  cudaStream_t stream;
  void* fault;
  if ((status = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)) != cudaSuccess ||
      (status = cudaHostAlloc(&fault, sizeof(int32_t), cudaHostAllocMapped)) != cudaSuccess ||
      (status = cudaHostGetDevicePointer(reinterpret_cast<void**>(&state.faultDevice), fault, 0)) != cudaSuccess)
    return refuse(why, size, status);
  state.faultHost = static_cast<int32_t*>(fault);
  *state.faultHost = 0;
  state.multiprocessors = device.multiProcessorCount;
  state.sharedLimit = device.sharedMemPerBlockOptin;
  const char* wait = getenv("TRAIN_MOE_SYNC");
  state.wait = wait && !strcmp(wait, "1");
  state.stream = stream;
  return true;
}

void* allocate(size_t bytes) {
  void* data = nullptr;
  cudaSetDevice(kDevice);
  if (cudaMalloc(&data, bytes ? bytes : 1) == cudaSuccess) return data;
  cudaGetLastError();  // "no room" is an answer here, not an error that sticks
  return nullptr;
}

void release(void* data, size_t) { cudaFree(data); }

void copyIn(void* to, const void* from, size_t bytes) {
  cudaSetDevice(kDevice);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, state.stream), "copy to the GPU");
  // The source is JavaScript's memory, which may change as soon as this returns.
  check(cudaStreamSynchronize(state.stream), "copy to the GPU");
}

void copyOut(void* to, const void* from, size_t bytes) {
  cudaSetDevice(kDevice);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, state.stream), "copy from the GPU");
  waitAndCheck("copy from the GPU");
}

void synchronize() {
  cudaSetDevice(kDevice);
  waitAndCheck("wait");
}

void* scratch(int slot, size_t bytes) {
  if (slot < 0 || slot >= kSlots) throw Error("internal", "there is no scratch slot of that number");
  State::Slot& s = state.slots[slot];
  if (s.bytes >= bytes) return s.data;
  if (s.data) cudaFree(s.data);  // waits for kernels that still use it
  s = {allocate(bytes), bytes};
  if (!s.data) {
    s.bytes = 0;
    throw Error("out-of-memory", std::string(state.op) + ": " + std::to_string(bytes) + " bytes of scratch memory are not free on the GPU; use a smaller batch.");
  }
  return s.data;
}

int multiprocessors() { return state.multiprocessors; }
size_t sharedLimit() { return state.sharedLimit; }

void enter(const char* op) {
  state.op = op;
  cudaSetDevice(kDevice);
}
void leave() {
  if (state.wait) waitAndCheck("wait after the op");
}

int32_t* faultWord() { return state.faultDevice; }

}  // namespace moe::machine
