#include "graph.h"

namespace moe {

Graph::~Graph() {
  close();
  if (device_) allocator_->backend()->destroy_graph(device_);
  for (Buffer* buffer : held_) allocator_->drop(buffer);
  allocator_->dissolve(arena_);
}

void Graph::uses(Buffer* buffer, bool writes) {
  if (writes) written_.insert(buffer);
  if (buffer->arena != &arena_ && held_.insert(buffer).second) buffer->views++;
}

void Graph::launch() {
  const Backend* backend = allocator_->backend();
  if (!tried_ && backend->begin_capture) recordOnDevice();
  tried_ = true;
  if (!device_) {
    for (const auto& call : calls_) call();
    return;
  }
  backend->launch_graph(device_);
  for (Buffer* buffer : written_) buffer->version++;
}

/// Without success the calls are made one by one, which gives the same numbers.
void Graph::recordOnDevice() {
  const Backend* backend = allocator_->backend();
  if (!backend->begin_capture()) return;
  bool whole = true;
  try {
    for (const auto& call : calls_) call();
  } catch (const Error&) {
    whole = false;
  }
  device_ = backend->end_capture();
  if (whole || !device_) return;
  backend->destroy_graph(device_);
  device_ = nullptr;
}

}  // namespace moe
