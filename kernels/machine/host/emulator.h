// One block of CUDA threads at a time, each thread a fiber. A thread runs until it has to wait for others; who runs next is
// drawn from TRAIN_MOE_EMULATOR_SEED: even seeds draw among all that can run, odd ones let one thread run as far as it can.
//
// What the emulator is stricter in than a GPU: shared memory begins as NaN; a copy lands only when its thread waits for it, and
// spoils its target when it is issued; lanes of a warp never run in step; a thread that ends while others wait at a barrier is
// an error; Hopper's engines are in hopper.cuh; memory past the end of a block's shared memory or of a global allocation faults.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

/// Those of the thread that runs now; the scheduler sets them at every switch.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace moe::machine {

inline constexpr int kWarp = 32, kMaxThreads = 1024, kNamedBarriers = 16;

/// Runs body() for every thread of every block. @throws Error("internal") that names the op, the block and the threads when the
/// kernel deadlocks, diverges inside a warp or touches memory that is not its own.
void run(dim3 grid, dim3 block, size_t shared, const std::function<void()>& body);

unsigned char* sharedArena();
/// Bytes from the begin of the block's shared memory, which counts as a multiple of 1024, as on a GPU.
size_t sharedOffset(const void* data);
/// Ends the launch with an error unless [data, data + bytes) is shared memory of this block.
void requireShared(const void* data, size_t bytes, const char* what);
void requireSharedBytes(const void* data, size_t bytes, size_t alignment, const char* what);
[[noreturn]] void fail(const char* sentence);

/// The running thread's number in its block, and a number from the schedule's generator.
int currentThread();
uint64_t draw();
/// Waits until wake(key); `what` is what a deadlock calls it.
void sleepOn(const void* key, const std::string& what);
void wake(const void* key);

/// Waits at barrier `id` until `threads` threads have come.
void barrier(int id, int threads);

/// All 32 lanes of the warp meet in `what`; the last to come runs perform(arguments of all lanes), then all go on.
void meet(const char* what, void* argument, void (*perform)(void** lanes));

/// A copy of this thread: poisons its target now, lands in landCopies().
void issueCopy(void* to, const void* from, int bytes, int valid);
void commitCopies();
void landCopies(int groupsInFlight);

}  // namespace moe::machine
