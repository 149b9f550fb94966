// The memory that the processes of one run share, and how they wait for each other in it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace moe::comm {

inline constexpr int kMaxRanks = 64;

struct Control;

/// What a rank says it brings to a collective; all must bring the same.
struct Signature {
  uint32_t kind;   ///< which collective, type and operation
  uint64_t bytes;  ///< of all of it
};

/// One rank's view of the shared memory: a control block, and two banks of a slot for each rank, so that one bank is filled while
/// the other is still read. Every wait has a deadline, and a rank that does not come is named with what it was last doing.
class Segment {
 public:
  /// Anonymous memory for `size` ranks, as a file descriptor that child processes inherit. It has no name, so nothing of it is
  /// left once the last process that has it is gone, however that ended.
  static int create(int size, size_t slotBytes);

  /// Maps it as `rank`, and keeps no descriptor. A wait of more than `timeout` seconds fails.
  Segment(int descriptor, int rank, double timeout);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  int rank() const { return rank_; }
  int size() const;
  size_t slotBytes() const;
  /// Where rank r puts what it brings to the coming meeting; to be read by others after it.
  char* slot(int r) const;

  /// What this rank does from now on, for the sentences of those that wait for it.
  void enter(const std::string& place);
  /// Waits until every rank has come. From here on the slots that were filled before may be read, and the other bank is filled.
  /// @throws Error `lost-rank` naming who did not come, `internal` when the ranks bring different things
  void meet(Signature signature) { meet(signature, timeout_); }
  /// The same, waiting so many seconds.
  void meet(Signature signature, double timeout);
  /// Tells the others, who wait or will, that this rank comes no more.
  void fail(const std::string& why);

 private:
  bool arrived(int r) const;
  void await(int r, double timeout);
  void compare(Signature signature) const;
  [[noreturn]] void lost(const std::string& sentence);
  std::string describe(int r) const;
  std::string missing() const;

  Control* control_ = nullptr;
  size_t bytes_ = 0;
  int rank_;
  double timeout_;
  uint64_t meetings_ = 0;
  std::string broken_;  ///< the sentence of the first failure: after it nothing fits together any more
};

}  // namespace moe::comm
