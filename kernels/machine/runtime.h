// What a backend's host code asks of its machine: memory, copies, scratch, faults. Two implementations: gpu/runtime.cu
// over the CUDA runtime, host/runtime.cc in plain memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace moe::machine {

extern const char* const kName;  ///< "cuda" or "emulator"
extern const bool kFresh;        ///< allocations are not kept for reuse (native/backend.h)

/// Whether the device can be used; otherwise one sentence (without its full stop) says why not.
bool usable(char* why, size_t size);

void* allocate(size_t bytes);
void release(void* data, size_t bytes);
void copyIn(void* to, const void* from, size_t bytes);
void copyOut(void* to, const void* from, size_t bytes);
/// From the device to the device, in the order of the stream; recorded as a launch is.
void copyWithin(void* to, const void* from, size_t bytes);
void synchronize();

size_t capacity();  ///< bytes of memory of the device
void close();       ///< gives back what this thread holds besides its allocations
/// Whom scratch() asks to give memory back before it fails.
void onShortage(void (*giveBack)(void* owner), void* owner);

/// Seconds between the two on the device's clock; the end waits.
void beginTimer();
double endTimer();

/// A copy to the host that does not wait, and its end, which waits for that copy alone; `to` null: not wanted any more.
void* beginCopyOut(const void* from, size_t bytes);
void endCopyOut(void* ticket, void* to, size_t bytes);

/// Between these two, launches of this thread are recorded and not run. False: not possible now. Null: it failed.
bool beginCapture();
void* endCapture();
void launchGraph(void* graph);
void destroyGraph(void* graph);

/// Memory of an op in flight. A slot holds until the next request for it, which may come from the next op: the stream keeps
/// the order. Grows, never shrinks.
void* scratch(int slot, size_t bytes);
template <class T> T* scratch(int slot, int64_t count) { return static_cast<T*>(scratch(slot, static_cast<size_t>(count) * sizeof(T))); }

int multiprocessors();  ///< how many blocks are needed to fill the device
size_t sharedLimit();   ///< most dynamic shared memory of one block, in bytes

/// Every op begins and ends with these. With TRAIN_MOE_SYNC=1 the end waits, so that an error names the op that caused it.
void enter(const char* op);
void leave();

/// What a kernel may find wrong in its data. It writes the code where faultWord() points; the next wait throws the sentence.
enum class Fault : int32_t { none = 0, id = 1, slot = 2, position = 3, token = 4 };
int32_t* faultWord();
inline const char* sentence(Fault fault) {
  switch (fault) {
    case Fault::id: return "an id lies outside the table or the vocabulary; ids run from 0 to rows-1";
    case Fault::slot: return "a slot lies outside the cache";
    case Fault::position: return "a position lies outside the table of rotary angles";
    case Fault::token: return "the rows of a loss's tokens, or the bounds of its samples, do not rise or lie outside their tensor";
    default: return "a kernel reported a fault";
  }
}

}  // namespace moe::machine
