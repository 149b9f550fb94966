// The emulator's device: plain memory, each allocation ending at a page that faults, fresh memory NaN. Up to 63 bytes lie between an
// allocation's end and that page, and some before its begin: after every op they must be as they were.
#include "../runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "../../../native/tensor.h"
#include "capture.h"

namespace moe::machine {

const char* const kName = "emulator";
const bool kFresh = true;

namespace {

constexpr unsigned char kGuard = 0xa5, kNaN = 0xff;

size_t pageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }
size_t wholePages(size_t bytes) { return (rounded(bytes) + pageBytes() - 1) / pageBytes() * pageBytes(); }

struct Slot {
  void* data = nullptr;
  size_t bytes = 0;
};
std::vector<Slot>& slots() {
  static std::vector<Slot> all(16);
  return all;
}

Recording* recording = nullptr;  // the graph being recorded

/// All allocations with their sizes. Worker threads of JavaScript share them.
struct Blocks {
  std::mutex mutex;
  std::unordered_map<unsigned char*, size_t> all;
};
Blocks& blocks() {
  static Blocks* all = new Blocks;  // never destroyed: tensors may be released while the process ends
  return *all;
}

bool all(const unsigned char* from, const unsigned char* to, unsigned char value) {
  while (from < to && *from == value) from++;
  return from == to;
}

void guard(unsigned char* data, size_t bytes) {
  const size_t gap = wholePages(bytes) - rounded(bytes);
  memset(data - gap, kGuard, gap);
  memset(data + bytes, kNaN, rounded(bytes) - bytes);
}

/// Where somebody wrote around the allocation, or null.
const char* damageOf(const unsigned char* data, size_t bytes) {
  const size_t gap = wholePages(bytes) - rounded(bytes);
  if (!all(data - gap, data, kGuard)) return "before the begin";
  return all(data + bytes, data + rounded(bytes), kNaN) ? nullptr : "past the end";
}

int32_t faultCode = 0;
const char* currentOp = "";

/// @throws when the op wrote beside an allocation, once for each
void checkBlocks() {
  const std::lock_guard lock(blocks().mutex);
  for (const auto& [data, bytes] : blocks().all)
    if (const char* where = damageOf(data, bytes)) {
      guard(data, bytes);
      throw Error("internal", std::string(currentOp) + ": memory " + where + " of an allocation of " + std::to_string(bytes) + " bytes was written.");
    }
}

void throwFault() {
  checkBlocks();
  if (!faultCode) return;
  const Fault fault = static_cast<Fault>(faultCode);
  faultCode = 0;
  throw Error("bad-argument", std::string(currentOp) + ": " + sentence(fault));
}

}  // namespace

bool usable(char*, size_t) { return true; }

void* allocate(size_t bytes) {
  const size_t room = wholePages(bytes), page = pageBytes();
  void* memory = mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* base = static_cast<unsigned char*>(memory);
  mprotect(base + room, page, PROT_NONE);
  unsigned char* data = base + room - rounded(bytes);
  memset(data, kNaN, bytes);
  guard(data, bytes);
  const std::lock_guard lock(blocks().mutex);
  blocks().all.emplace(data, bytes);
  return data;
}

void release(void* data, size_t bytes) {
  const size_t room = wholePages(bytes);
  {
    const std::lock_guard lock(blocks().mutex);
    blocks().all.erase(static_cast<unsigned char*>(data));
  }
  munmap(static_cast<unsigned char*>(data) - (room - rounded(bytes)), room + pageBytes());
}

void copyIn(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
void copyOut(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
void copyWithin(void* to, const void* from, size_t bytes) {
  if (recording) recording->launches.emplace_back([=] { memcpy(to, from, bytes); });
  else memcpy(to, from, bytes);
}
void synchronize() {
  if (recording) throw Error("internal", "the host waited while a graph was recorded");
}

size_t capacity() { return 0; }
void close() {}
void onShortage(void (*)(void*), void*) {}  // nothing is kept that could be given back

namespace {
std::chrono::steady_clock::time_point timerStart;
}
void beginTimer() { timerStart = std::chrono::steady_clock::now(); }
double endTimer() { return std::chrono::duration<double>(std::chrono::steady_clock::now() - timerStart).count(); }

void* beginCopyOut(const void* from, size_t bytes) {
  auto* copy = new std::vector<char>(bytes);
  memcpy(copy->data(), from, bytes);
  return copy;
}
void endCopyOut(void* ticket, void* to, size_t bytes) {
  auto* copy = static_cast<std::vector<char>*>(ticket);
  if (to) memcpy(to, copy->data(), bytes);
  delete copy;
}

Recording* capturing() { return recording; }

bool beginCapture() {
  recording = new Recording;
  return true;
}
void* endCapture() {
  Recording* done = recording;
  recording = nullptr;
  return done;
}
void launchGraph(void* graph) {
  currentOp = "graph";
  for (const auto& launch : static_cast<Recording*>(graph)->launches) launch();
  throwFault();
}
void destroyGraph(void* graph) {
  auto* gone = static_cast<Recording*>(graph);
  for (const auto& [data, bytes] : gone->scratch) release(data, bytes);
  delete gone;
}

void* scratch(int slot, size_t bytes) {
  Slot& s = slots().at(static_cast<size_t>(slot));
  if (recording) {  // recorded kernels will use it again and again: it stays as long as the graph
    void* data = allocate(bytes);
    recording->scratch.emplace_back(data, bytes);
    return data;
  }
  if (s.data) release(s.data, s.bytes);
  s = {allocate(bytes), bytes};  // always afresh: what the last op left must not be read
  if (!s.data) throw Error("out-of-memory", "the emulator has no scratch memory left");
  return s.data;
}

int multiprocessors() { return 4; }
size_t sharedLimit() { return 227 * 1024; }

void enter(const char* op) { currentOp = op; }
void leave() { throwFault(); }

int32_t* faultWord() { return &faultCode; }

}  // namespace moe::machine
