// The thread pool that all CPU kernels share. Results never depend on the number of threads: a kernel cuts its work into
// tasks by shape alone, and no task reads what another one writes.
#pragma once
#include <cstdint>

namespace moe::parallel {

inline constexpr int kMaxThreads = 256;

int threads();
void setThreads(int count);

/// Runs body(context, task, worker) for every task in 0..tasks-1, each once, and returns when all are done. `worker` is
/// 0..threads()-1 and names scratch memory that no other task uses meanwhile. Tasks must not throw or call run().
void run(int64_t tasks, void (*body)(void* context, int64_t task, int worker), void* context);

/// Scratch memory of a worker, 64-byte aligned, kept between calls; grows to the largest request and is not cleared.
/// Slots (0..3) are apart from each other, so that one kernel can hold several.
void* scratch(int worker, int slot, int64_t bytes);

/// Memory of the calling thread for what all tasks of one kernel call share: tables of tasks, partial sums. Taken before
/// run(), valid until the next request by the same thread; unlike scratch, safe when several environments compute at once.
void* shared(int64_t bytes);

template <class F> void loop(int64_t tasks, F&& body) {
  if (tasks <= 0) return;
  auto call = [](void* context, int64_t task, int worker) { (*static_cast<F*>(context))(task, worker); };
  run(tasks, call, const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace moe::parallel
