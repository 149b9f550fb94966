// The emulator's device: plain memory, each allocation ending at a page that faults, fresh memory NaN.
#include "../runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../../../native/tensor.h"

namespace moe::machine {

const char* const kName = "emulator";

namespace {

constexpr unsigned char kGuard = 0xa5;

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

int32_t faultCode = 0;
bool damaged = false;
const char* currentOp = "";

void throwFault() {
  if (damaged) {
    damaged = false;
    throw Error("internal", "memory before the begin of an allocation was written");
  }
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
  const size_t gap = room - rounded(bytes);
  memset(base, kGuard, gap);
  memset(base + gap, 0xff, room - gap);
  return base + gap;
}

void release(void* data, size_t bytes) {
  const size_t room = wholePages(bytes), gap = room - rounded(bytes);
  unsigned char* base = static_cast<unsigned char*>(data) - gap;
  bool intact = true;
  for (size_t i = 0; i < gap; i++) intact &= base[i] == kGuard;
  munmap(base, room + pageBytes());
  damaged |= !intact;  // thrown by the next op: this may run in a destructor
}

void copyIn(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
void copyOut(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
void synchronize() {}

void* scratch(int slot, size_t bytes) {
  Slot& s = slots().at(static_cast<size_t>(slot));
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
