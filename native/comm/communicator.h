// What the ranks of one run do together with tensors.
#pragma once
#include <string>
#include <vector>

#include "../memory.h"
#include "segment.h"

namespace moe::comm {

enum class Operation : uint8_t { sum, max };

/// A tensor that lies side by side in memory, and the rank whose it is: the one that gets its sum, or gives its values.
struct Piece {
  View view;
  int owner = 0;
};

/// Collectives between the processes of one machine, through memory that they share. Tensors may lie on any backend: it copies
/// them to and from the host. Sums are taken in the order of the ranks, so they have the same bits on all ranks and in every run;
/// those of bf16 are taken in f32 and rounded once.
///
/// All ranks make the same calls in the same order, with the same sizes, types and owners; `what` names the call in errors.
class Communicator {
 public:
  Communicator(int descriptor, int rank, double timeout) : segment_(descriptor, rank, timeout) {}

  int rank() const { return segment_.rank(); }
  int size() const { return segment_.size(); }
  void enter(const std::string& place) { segment_.enter(place); }
  void fail(const std::string& why) { segment_.fail(why); }

  /// Each tensor becomes its sum or largest value over the ranks. Every rank reads what all have brought: for small tensors.
  void allReduce(const std::vector<View>& tensors, Operation operation, const std::string& what);
  /// Each piece becomes, on its owner, the sum over the ranks. Elsewhere it stays as it was.
  void reduceScatter(const std::vector<Piece>& pieces, Operation operation, const std::string& what);
  /// Each piece becomes what its owner holds. With one owner of all this is a broadcast.
  void allGather(const std::vector<Piece>& pieces, const std::string& what);
  /// Waits for all, so many seconds.
  void barrier(const std::string& what, double timeout);

 private:
  Segment segment_;
};

}  // namespace moe::comm
