// Pinned host memory between JavaScript's arrays and the device: a ring for what goes in, tickets for what comes out.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "machine.cuh"

namespace moe::machine {

/// Host to device without a wait: the bytes are copied to a pinned piece, from which the device fetches them in stream order. A
/// piece is used again once the device has fetched it, so the host may be kPieces pieces ahead.
class InRing {
 public:
  void copy(void* to, const void* from, size_t bytes, cudaStream_t stream) {
    if (!data_) check(cudaHostAlloc(reinterpret_cast<void**>(&data_), kPiece * kPieces, cudaHostAllocDefault), "pinned memory");
    for (size_t done = 0; done < bytes; done += kPiece) {
      const size_t part = std::min(kPiece, bytes - done);
      cudaEvent_t& fetched = events_[next_];
      if (fetched) check(cudaEventSynchronize(fetched), "copy to the GPU");
      else check(cudaEventCreateWithFlags(&fetched, cudaEventDisableTiming), "copy to the GPU");
      char* piece = data_ + next_ * kPiece;
      memcpy(piece, static_cast<const char*>(from) + done, part);
      check(cudaMemcpyAsync(static_cast<char*>(to) + done, piece, part, cudaMemcpyHostToDevice, stream), "copy to the GPU");
      check(cudaEventRecord(fetched, stream), "copy to the GPU");
      next_ = (next_ + 1) % kPieces;
    }
  }

  void close() {
    for (cudaEvent_t event : events_)
      if (event) cudaEventDestroy(event);
    if (data_) cudaFreeHost(data_);
  }

 private:
  static constexpr size_t kPiece = 256 << 10;
  static constexpr int kPieces = 64;
  char* data_ = nullptr;
  cudaEvent_t events_[kPieces] = {};
  int next_ = 0;
};

/// Device to host, to be waited for later: losses, norms, counts. Tickets are used again.
class OutTickets {
 public:
  void* begin(const void* from, size_t bytes, cudaStream_t stream) {
    Ticket* ticket = take(bytes);
    check(cudaMemcpyAsync(ticket->data, from, bytes, cudaMemcpyDeviceToHost, stream), "copy from the GPU");
    check(cudaEventRecord(ticket->done, stream), "copy from the GPU");
    return ticket;
  }

  void end(void* handle, void* to, size_t bytes) {
    auto* ticket = static_cast<Ticket*>(handle);
    free_.push_back(ticket);
    if (!to) return;  // the next use of the ticket comes later in the same stream
    check(cudaEventSynchronize(ticket->done), "copy from the GPU");
    memcpy(to, ticket->data, bytes);
  }

  void close() {
    for (Ticket* ticket : free_) {
      cudaEventDestroy(ticket->done);
      cudaFreeHost(ticket->data);
      delete ticket;
    }
  }

 private:
  struct Ticket {
    void* data = nullptr;
    size_t bytes = 0;
    cudaEvent_t done = nullptr;
  };

  Ticket* take(size_t bytes) {
    for (size_t i = 0; i < free_.size(); i++)
      if (free_[i]->bytes >= bytes) {
        Ticket* ticket = free_[i];
        free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
        return ticket;
      }
    auto* ticket = new Ticket;
    ticket->bytes = std::max<size_t>(bytes, 4096);
    check(cudaHostAlloc(&ticket->data, ticket->bytes, cudaHostAllocDefault), "pinned memory");
    check(cudaEventCreateWithFlags(&ticket->done, cudaEventDisableTiming), "pinned memory");
    return ticket;
  }

  std::vector<Ticket*> free_;
};

}  // namespace moe::machine
