// What the scheduler (emulator.cc) asks of Hopper's asynchronous engines (hopper.cc).
#pragma once
#include <cstddef>
#include <string>

namespace moe::machine {

/// Forgets what an earlier block left.
void beginHopper();
/// Lets one tensor copy, drawn among those in flight, arrive; false when there is none. Called when no thread can run, and under
/// odd seeds at every switch of threads, so that a warp can run ahead of the others.
bool landOneCopy();
/// A cp.async of the running thread has landed; wgmma must not read it before the thread's fence.
void noteLanded(const void* shared, size_t bytes);
/// What the running thread, or the block, should have waited for; nullptr when all is done.
const char* unfinishedInThread();
const char* unfinishedInBlock();
/// "; mbarrier at byte 64 is in phase 0 and lacks 1 of 8 arrivals and 16384 bytes", for each whose phase has begun.
std::string openBarriers();

}  // namespace moe::machine
