#include "parallel.h"

#include "pages.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace moe::parallel {

namespace {

int coresOfThisProcess() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::clamp(CPU_COUNT(&set), 1, kMaxThreads);
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
}

int initialThreads() {
  if (const char* wanted = std::getenv("TRAIN_MOE_THREADS")) {
    const int count = std::atoi(wanted);
    if (count >= 1) return std::min(count, kMaxThreads);
  }
  return coresOfThisProcess();
}

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

struct Scratch {
  void* data[4] = {};
  int64_t bytes[4] = {};
};

/// Workers spin for a short while after a job, because kernels follow each other closely, then sleep on a futex. A worker joins
/// a job while its gate is open; the caller closes the gate when no task is left and waits only for those who joined, so that
/// one who wakes late, or whose core another program has, holds nobody up.
class Pool {
 public:
  Pool() : count_(initialThreads()) {
    pthread_atfork(nullptr, nullptr, [] { forked_.store(true); });
  }

  int count() const { return count_; }

  void resize(int count) {
    const std::lock_guard lock(callers_);
    stop();
    count_ = count;
  }

  void run(int64_t tasks, void (*body)(void*, int64_t, int), void* context) {
    const std::lock_guard lock(callers_);  // two environments may compute at once; their jobs take turns
    if (count_ == 1 || tasks == 1) {
      for (int64_t task = 0; task < tasks; task++) body(context, task, 0);
      return;
    }
    if (forked_.load(std::memory_order_relaxed)) abandon();
    if (workers_.empty()) start();
    body_ = body;
    context_ = context;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    gate_.store(kOpen, std::memory_order_release);
    job_.fetch_add(1, std::memory_order_release);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) wake();
    work(0);
    gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spins = 0; gate_.load(std::memory_order_acquire) > 0;) {
      if (++spins < kSpins) pause();
      else sched_yield();
    }
  }

  Scratch& scratch(int worker) { return scratch_[worker]; }

 private:
  static constexpr int kSpins = 4000;
  static constexpr int kOpen = 1 << 30;  ///< of gate_; the rest counts the workers inside

  void work(int worker) {
    for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) body_(context_, task, worker);
  }

  /// Counts this worker in, unless the gate is closed. What run() wrote before it opened the gate is seen afterwards.
  bool join() {
    int gate = gate_.load(std::memory_order_relaxed);
    while (gate & kOpen)
      if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) return true;
    return false;
  }

  void wake() { syscall(SYS_futex, &job_, FUTEX_WAKE_PRIVATE, kMaxThreads, nullptr, nullptr, 0); }

  void serve(int worker) {
    int seen = first_;
    for (;;) {
      int spins = 0;
      while (job_.load(std::memory_order_acquire) == seen) {
        if (++spins < kSpins) {
          pause();
          continue;
        }
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        syscall(SYS_futex, &job_, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
        spins = 0;
      }
      seen = job_.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_acquire)) return;
      if (!join()) continue;
      work(worker);
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  void start() {
    first_ = job_.load();
    for (int worker = 1; worker < count_; worker++) workers_.emplace_back([this, worker] { serve(worker); });
  }

  void stop() {
    if (workers_.empty()) return;
    if (forked_.load()) return abandon();
    stopping_.store(true, std::memory_order_release);
    job_.fetch_add(1, std::memory_order_release);
    wake();
    for (std::thread& thread : workers_) thread.join();
    workers_.clear();
    stopping_.store(false);
  }

  /// After fork() the threads are gone; their objects must be forgotten, not joined.
  void abandon() {
    for (std::thread& thread : workers_) thread.detach();
    workers_.clear();
    forked_.store(false);
    sleepers_.store(0);
  }

  int count_;
  static inline std::atomic<bool> forked_{false};  ///< this process is the child of the one that started the workers
  int first_ = 0;
  std::vector<std::thread> workers_;
  std::mutex callers_;
  void (*body_)(void*, int64_t, int) = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int> job_{0};
  alignas(64) std::atomic<int> gate_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  Scratch scratch_[kMaxThreads];
};

/// Never destroyed: worker threads may still be asleep in it when the process exits.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

}  // namespace

int threads() { return pool().count(); }
void setThreads(int count) { pool().resize(count); }

void run(int64_t tasks, void (*body)(void* context, int64_t task, int worker), void* context) {
  pool().run(tasks, body, context);
}

namespace {

/// Grows `data` to `bytes` at least; the content is lost.
void reserve(void*& data, int64_t& held, int64_t bytes) {
  if (held >= bytes) return;
  std::free(data);
  data = allocate(bytes);
  held = data ? bytes : 0;
  if (!data) std::abort();
}

struct Shared {
  void* data = nullptr;
  int64_t bytes = 0;
  ~Shared() { std::free(data); }
};

}  // namespace

void* allocate(int64_t bytes) {
  constexpr int64_t kPage = 4096, kHugePage = 2 << 20;
  if (bytes < kPage) return std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  const bool large = bytes >= kHugePage;
  const int64_t rounded = (bytes + kPage - 1) / kPage * kPage;
  void* data = nullptr;
  if (posix_memalign(&data, large ? kHugePage : 64, rounded) != 0) return nullptr;
  if (large) madvise(data, rounded, MADV_HUGEPAGE);  // a wish: a kernel without huge pages refuses it, and all works
  return data;
}

void* scratch(int worker, int slot, int64_t bytes) {
  Scratch& own = pool().scratch(worker);
  reserve(own.data[slot], own.bytes[slot], bytes);
  return own.data[slot];
}

void* shared(int64_t bytes) {
  thread_local Shared own;
  reserve(own.data, own.bytes, bytes);
  return own.data;
}

}  // namespace moe::parallel
