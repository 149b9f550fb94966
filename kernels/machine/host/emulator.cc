#include "emulator.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "../../../native/tensor.h"
#include "../runtime.h"
#include "fiber.h"
#include "hopper.h"

namespace moe::machine {

namespace {

struct Copy {
  void* to;
  const void* from;
  int bytes, valid, group;
};

struct Thread {
  Fiber fiber;
  dim3 index;
  int number = 0;
  bool ended = false;
  const char* waitsFor = nullptr;
  const void* key = nullptr;  ///< what it sleeps on
  char text[64];              ///< waitsFor of a sleeper
  std::vector<Copy> copies;
  int group = 0;
};

/// A place where threads wait for each other.
struct Gate {
  const char* what = nullptr;
  int count = 0;
  int waiting[kMaxThreads];
  void* arguments[kWarp];
};

struct Launch {
  std::mutex mutex;  // JavaScript worker threads may share the library
  const std::function<void()>* body = nullptr;
  Fiber scheduler;
  std::vector<Thread> threads{kMaxThreads};
  int ready[kMaxThreads];
  int readyCount = 0;
  std::vector<Gate> barriers{kNamedBarriers}, warps{kMaxThreads / kWarp};
  Thread* running = nullptr;
  int count = 0, ended = 0;
  unsigned char *arena = nullptr, *arenaEnd = nullptr;
  std::string failure;
  uint64_t random = 0;
  bool runAhead = false;
};

Launch& launch() {
  static Launch* all = new Launch;  // never destroyed: stacks that were given up may still be on its fibers
  return *all;
}

constexpr size_t kArenaBytes = 256 * 1024;

}  // namespace

uint64_t draw() {  // SplitMix64
  uint64_t z = launch().random += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

namespace {

/// Leaves `from` for the next thread that can run, or for the scheduler when there is none.
void goOn(Launch& l, Fiber& from) {
  while ((l.runAhead || (l.readyCount == 0 && l.ended < l.count)) && landOneCopy()) {}
  if (l.readyCount == 0) return switchTo(from, l.scheduler);
  const int pick = l.runAhead ? l.readyCount - 1 : static_cast<int>((draw() >> 32) * static_cast<uint64_t>(l.readyCount) >> 32);
  Thread& next = l.threads[l.ready[pick]];
  l.ready[pick] = l.ready[--l.readyCount];
  l.running = &next;
  threadIdx = next.index;
  next.waitsFor = nullptr;
  if (&next.fiber != &from) switchTo(from, next.fiber);
}

void pause(Launch& l, const char* what) {
  Thread& t = *l.running;
  t.waitsFor = what;
  goOn(l, t.fiber);
}

/// All that wait at the gate can run again.
void open(Launch& l, Gate& gate, int except) {
  for (int i = 0; i < gate.count; i++)
    if (gate.waiting[i] != except) l.ready[l.readyCount++] = gate.waiting[i];
  gate.count = 0;
}

void threadMain(void*) {
  Launch& l = launch();
  (*l.body)();
  Thread& t = *l.running;
  for (const Copy& c : t.copies)
    if (c.group < t.group) fail("a thread ended without waiting for its copies");
  if (const char* left = unfinishedInThread()) fail(left);
  t.ended = true;
  l.ended++;
  goOn(l, t.fiber);
  abort();  // an ended fiber is never resumed
}

/// "threads 0-31 have ended, threads 32-63 wait in barrier 0"
std::string whoWaits() {
  const Launch& l = launch();
  std::string text;
  for (int from = 0; from < l.count;) {
    const auto state = [&](int n) { return l.threads[n].ended ? "have ended" : l.threads[n].waitsFor ? l.threads[n].waitsFor : "can run"; };
    int to = from;
    while (to + 1 < l.count && !strcmp(state(to + 1), state(from))) to++;
    const bool waits = !l.threads[from].ended && l.threads[from].waitsFor;
    text += (text.empty() ? "threads " : ", threads ") + std::to_string(from) + "-" + std::to_string(to) + (waits ? " wait in " : " ") + state(from);
    from = to + 1;
  }
  return text;
}

size_t pageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

/// Memory whose last byte lies before a page that faults.
unsigned char* guardedArena() {
  auto* memory = static_cast<unsigned char*>(mmap(nullptr, kArenaBytes + pageBytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory + kArenaBytes, pageBytes(), PROT_NONE);
  return memory + kArenaBytes;
}

struct sigaction previousActions[2];  // of SIGSEGV and SIGBUS

void onFault(int signal, siginfo_t* info, void*) {
  Launch& l = launch();
  if (!l.running) {  // not ours: let whoever was here first deal with it
    sigaction(signal, &previousActions[signal == SIGBUS], nullptr);
    return;
  }
  char text[160];
  const auto* at = static_cast<unsigned char*>(info->si_addr);
  if (at >= l.arenaEnd && at < l.arenaEnd + pageBytes()) snprintf(text, sizeof text, "shared memory was touched %td bytes past its end", at - l.arenaEnd);
  else snprintf(text, sizeof text, "memory that is not allocated was touched");
  fail(text);
}

void catchFaults() {
  struct sigaction action = {};
  action.sa_sigaction = onFault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;  // the handler never returns; the signal must stay open
  for (int signal : {SIGSEGV, SIGBUS}) {
    struct sigaction old = {};
    sigaction(signal, nullptr, &old);
    if (old.sa_sigaction == onFault) continue;
    previousActions[signal == SIGBUS] = old;
    sigaction(signal, &action, nullptr);
  }
}

void runBlock(size_t shared) {
  Launch& l = launch();
  constexpr int kUnder = 64;  // bytes below the block's shared memory that nobody may change
  l.arena = l.arenaEnd - (shared + 15) / 16 * 16;
  memset(l.arena - kUnder, 0xa5, kUnder);
  memset(l.arena, 0xff, l.arenaEnd - l.arena);
  for (Gate& g : l.barriers) g.count = 0;
  for (Gate& g : l.warps) g.count = 0;
  beginHopper();
  l.readyCount = l.count;
  l.ended = 0;
  for (int n = 0; n < l.count; n++) {
    Thread& t = l.threads[n];
    t.number = n;
    t.index = dim3(n % blockDim.x, n / blockDim.x % blockDim.y, n / (blockDim.x * blockDim.y));
    t.ended = false;
    t.waitsFor = nullptr;
    t.key = nullptr;
    t.copies.clear();
    t.group = 0;
    prepare(t.fiber, threadMain, nullptr);
    l.ready[n] = n;
  }
  if (l.runAhead)
    for (int n = l.count - 1; n > 0; n--) std::swap(l.ready[n], l.ready[draw() % (n + 1)]);
  goOn(l, l.scheduler);
  l.running = nullptr;
  if (!l.failure.empty()) return;
  if (l.ended < l.count) l.failure = "deadlock: " + whoWaits() + openBarriers();
  else if (const char* left = unfinishedInBlock()) l.failure = left;
  for (int i = 0; i < kUnder; i++)
    if (l.arena[i - kUnder] != 0xa5) l.failure = "shared memory was written before its begin";
}

}  // namespace

void run(dim3 grid, dim3 block, size_t shared, const std::function<void()>& body) {
  Launch& l = launch();
  const std::lock_guard lock(l.mutex);
  l.count = static_cast<int>(block.x * block.y * block.z);
  if (l.count % kWarp || l.count > kMaxThreads || l.count == 0) throw Error("internal", "a launch has " + std::to_string(l.count) + " threads a block; whole warps up to 1024 are expected");
  if (shared > sharedLimit()) throw Error("internal", "a launch asks for " + std::to_string(shared) + " bytes of shared memory a block");
  if (grid.y > 65535 || grid.z > 65535) throw Error("internal", "a launch has more than 65535 blocks in y or z");
  if (!l.arenaEnd) l.arenaEnd = guardedArena();
  catchFaults();
  const char* seed = getenv("TRAIN_MOE_EMULATOR_SEED");
  l.random = seed ? strtoull(seed, nullptr, 10) : 0;
  l.runAhead = l.random & 1;
  l.body = &body;
  l.failure.clear();
  gridDim = grid;
  blockDim = block;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z, first = blocks ? draw() % blocks : 0;
  for (uint64_t i = 0; i < blocks && l.failure.empty(); i++) {
    const uint64_t b = l.runAhead ? (first + blocks - i) % blocks : (first + i) % blocks;
    blockIdx = dim3(b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y);
    runBlock(shared);
  }
  l.running = nullptr;
  if (!l.failure.empty())
    throw Error("internal", l.failure + " (block " + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," + std::to_string(blockIdx.z) + ")");
}

void fail(const char* sentence) {
  Launch& l = launch();
  Thread& t = *l.running;
  l.failure = std::string(sentence) + ", in thread " + std::to_string(t.number);
  switchTo(t.fiber, l.scheduler);
  abort();
}

unsigned char* sharedArena() { return launch().arena; }

size_t sharedOffset(const void* data) { return static_cast<size_t>(static_cast<const unsigned char*>(data) - launch().arena); }

void requireShared(const void* data, size_t bytes, const char* what) { requireSharedBytes(data, bytes, 16, what); }

void requireSharedBytes(const void* data, size_t bytes, size_t alignment, const char* what) {
  const auto* at = static_cast<const unsigned char*>(data);
  const Launch& l = launch();
  if (at >= l.arena && at + bytes <= l.arenaEnd && reinterpret_cast<uintptr_t>(at) % alignment == 0) return;
  fail(what);
}

int currentThread() { return launch().running->number; }

void sleepOn(const void* key, const std::string& what) {
  Launch& l = launch();
  Thread& t = *l.running;
  t.key = key;
  snprintf(t.text, sizeof t.text, "%s", what.c_str());
  pause(l, t.text);
}

void wake(const void* key) {
  Launch& l = launch();
  for (int n = 0; n < l.count; n++)
    if (l.threads[n].key == key) {
      l.threads[n].key = nullptr;
      l.ready[l.readyCount++] = n;
    }
}

void barrier(int id, int threads) {
  Launch& l = launch();
  Gate& gate = l.barriers[id];
  const int me = l.running->number;
  gate.waiting[gate.count++] = me;
  if (gate.count == threads) open(l, gate, me);
  else pause(l, id == 0 ? "__syncthreads" : "a named barrier");
}

void meet(const char* what, void* argument, void (*perform)(void**)) {
  Launch& l = launch();
  const int me = l.running->number;
  Gate& gate = l.warps[me / kWarp];
  if (gate.count == 0) gate.what = what;
  else if (gate.what != what && strcmp(gate.what, what) != 0)
    fail((std::string("the lanes of a warp part: one is in ") + gate.what + ", another in " + what).c_str());
  gate.arguments[me % kWarp] = argument;
  gate.waiting[gate.count++] = me;
  if (gate.count < kWarp) return pause(l, what);
  perform(gate.arguments);
  open(l, gate, me);
}

void issueCopy(void* to, const void* from, int bytes, int valid) {
  memset(to, 0xff, bytes);
  Thread& t = *launch().running;
  t.copies.push_back({to, from, bytes, valid, t.group});
}

void commitCopies() { launch().running->group++; }

void landCopies(int groupsInFlight) {
  Thread& t = *launch().running;
  if (t.copies.empty()) return;
  size_t kept = 0;
  for (const Copy& c : t.copies) {
    if (c.group >= t.group - groupsInFlight) { t.copies[kept++] = c; continue; }
    memcpy(c.to, c.from, c.valid);
    memset(static_cast<char*>(c.to) + c.valid, 0, c.bytes - c.valid);
    noteLanded(c.to, static_cast<size_t>(c.bytes));
  }
  t.copies.resize(kept);
}

}  // namespace moe::machine
