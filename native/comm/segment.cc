#include "segment.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>

#include "../tensor.h"

namespace moe::comm {

namespace {

constexpr uint32_t kFormat = 0x6d6f6501;
constexpr size_t kPlaceBytes = 96, kWhyBytes = 512;
constexpr int kSpins = 2000;          // some tens of microseconds: ranks that are level meet within them
constexpr double kLookSeconds = 0.05;  // between looks whether those that are missing still live

/// Text that one process writes while others may read it: a mixture of two is readable, and only ever told in an error.
template <size_t N> struct SharedText {
  std::atomic<char> bytes[N];

  void set(const std::string& text) {
    const size_t n = std::min(text.size(), N - 1);
    for (size_t i = 0; i < n; i++) bytes[i].store(text[i], std::memory_order_relaxed);
    bytes[n].store(0, std::memory_order_release);
  }
  std::string get() const {
    std::string text;
    for (size_t i = 0; i < N; i++) {
      const char c = bytes[i].load(std::memory_order_relaxed);
      if (!c) break;
      text += c;
    }
    return text;
  }
};

struct alignas(64) RankState {
  std::atomic<uint64_t> meetings;  // come to so far
  std::atomic<int32_t> process;
  std::atomic<uint32_t> kind[2];   // Signature, by the parity of the meeting: a rank may be one ahead of those that still compare
  std::atomic<uint64_t> bytes[2];
  SharedText<kPlaceBytes> place;
};

std::string reason() { return std::strerror(errno); }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string seconds(double value) {
  char text[32];
  snprintf(text, sizeof text, "%g", value);
  return text;
}

/// Sleeps until the word is no longer `seen`, a wake-up, or `seconds` have passed; what it was is for the caller to look at.
void sleepOn(std::atomic<uint32_t>& word, uint32_t seen, double seconds) {
  timespec time;
  time.tv_sec = static_cast<time_t>(seconds);
  time.tv_nsec = static_cast<long>((seconds - static_cast<double>(time.tv_sec)) * 1e9);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, &time, nullptr, 0);
}

void wakeAll(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_acq_rel);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

/// All zero in the beginning, as fresh memory is.
struct Control {
  uint32_t format;
  int32_t size;
  uint64_t slotBytes;
  alignas(64) std::atomic<uint32_t> bell;    // rung whenever somebody comes or fails
  std::atomic<int32_t> failing, failed;      // 1 + the first rank that failed; the second once `why` is written
  SharedText<kWhyBytes> why;
  RankState ranks[kMaxRanks];
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

static size_t controlBytes() { return (sizeof(Control) + 4095) / 4096 * 4096; }

int Segment::create(int size, size_t slotBytes) {
  if (size < 2 || size > kMaxRanks)
    throw Error("bad-argument", std::to_string(size) + " ranks were asked for; one machine has 2 to " + std::to_string(kMaxRanks) + ".");
  if (slotBytes < 64 * static_cast<size_t>(size) || slotBytes % 64)
    throw Error("bad-argument", "a slot of " + std::to_string(slotBytes) + " bytes was asked for; it has 64 or a multiple of it for each rank.");
  const size_t bytes = controlBytes() + 2 * static_cast<size_t>(size) * slotBytes;
  const int descriptor = memfd_create("train-moe", MFD_CLOEXEC);
  if (descriptor < 0) throw Error("io", "the memory that the ranks share cannot be made: " + reason() + ".");
  if (ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    const std::string why = reason();
    close(descriptor);
    throw Error("io", "the memory that the ranks share cannot have " + std::to_string(bytes) + " bytes: " + why + ".");
  }
  Control head{};
  head.format = kFormat;
  head.size = size;
  head.slotBytes = slotBytes;
  constexpr size_t kHead = offsetof(Control, bell);
  if (pwrite(descriptor, &head, kHead, 0) != static_cast<ssize_t>(kHead)) {
    const std::string why = reason();
    close(descriptor);
    throw Error("io", "the memory that the ranks share cannot be written: " + why + ".");
  }
  return descriptor;
}

Segment::Segment(int descriptor, int rank, double timeout) : rank_(rank), timeout_(timeout) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) throw Error("bad-argument", "the descriptor " + std::to_string(descriptor) + " is not open: " + reason() + ".");
  bytes_ = static_cast<size_t>(status.st_size);
  void* base = bytes_ >= controlBytes() ? mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  if (base == MAP_FAILED) throw Error("bad-argument", "the descriptor " + std::to_string(descriptor) + " is no memory that ranks share.");
  control_ = static_cast<Control*>(base);
  const Control& c = *control_;
  const bool ours = c.format == kFormat && c.size > 0 && c.size <= kMaxRanks && bytes_ == controlBytes() + 2 * static_cast<size_t>(c.size) * c.slotBytes;
  if (!ours || rank < 0 || rank >= c.size || !(timeout > 0)) {
    const std::string what = ours ? "rank " + std::to_string(rank) + " of " + std::to_string(c.size) + " cannot wait " + seconds(timeout) + " s."
                                  : "the descriptor " + std::to_string(descriptor) + " is no memory that ranks of this version share.";
    munmap(base, bytes_);
    throw Error("bad-argument", what);
  }
  control_->ranks[rank].process.store(getpid(), std::memory_order_release);
  enter("start");
}

Segment::~Segment() { munmap(control_, bytes_); }

int Segment::size() const { return control_->size; }
size_t Segment::slotBytes() const { return control_->slotBytes; }

char* Segment::slot(int r) const {
  const size_t bank = meetings_ % 2;
  return reinterpret_cast<char*>(control_) + controlBytes() + (bank * static_cast<size_t>(size()) + static_cast<size_t>(r)) * slotBytes();
}

void Segment::enter(const std::string& place) { control_->ranks[rank_].place.set(place); }

void Segment::fail(const std::string& why) {
  int32_t nobody = 0;
  if (!control_->failing.compare_exchange_strong(nobody, rank_ + 1)) return;
  control_->why.set(why);
  control_->failed.store(rank_ + 1, std::memory_order_release);
  wakeAll(control_->bell);
}

bool Segment::arrived(int r) const { return control_->ranks[r].meetings.load(std::memory_order_acquire) > meetings_; }

void Segment::meet(Signature signature, double timeout) {
  if (!broken_.empty()) throw Error("lost-rank", broken_);
  RankState& own = control_->ranks[rank_];
  own.kind[meetings_ % 2].store(signature.kind, std::memory_order_relaxed);
  own.bytes[meetings_ % 2].store(signature.bytes, std::memory_order_relaxed);
  own.meetings.store(meetings_ + 1, std::memory_order_release);
  wakeAll(control_->bell);
  for (int r = 0; r < size(); r++)
    if (r != rank_) await(r, timeout);
  compare(signature);
  meetings_++;
}

void Segment::await(int r, double timeout) {
  for (int i = 0; i < kSpins; i++) {
    if (arrived(r)) return;
    __builtin_ia32_pause();
  }
  double waited = 0, last = now();
  for (double look = kLookSeconds;;) {
    const uint32_t seen = control_->bell.load(std::memory_order_acquire);
    if (arrived(r)) return;
    if (const int failed = control_->failed.load(std::memory_order_acquire); failed > 0)
      lost("rank " + std::to_string(failed - 1) + " gave up: " + control_->why.get());
    const double time = now();
    waited += std::min(time - last, 4 * kLookSeconds);  // while this process was stopped itself, by Ctrl-Z with all, nobody was late
    last = time;
    if (waited > timeout)
      lost(missing() + " not come to \"" + control_->ranks[rank_].place.get() + "\" within " + seconds(timeout) +
           " s: stopped, hanging, or far slower than the others. Give --rankTimeout more seconds if that was only slow.");
    if (waited > look) {
      const int32_t process = control_->ranks[r].process.load(std::memory_order_acquire);
      if (process > 0 && kill(process, 0) != 0 && errno == ESRCH && !arrived(r))
        lost(describe(r) + " has ended, while rank " + std::to_string(rank_) + " waited for it at \"" + control_->ranks[rank_].place.get() + "\".");
      look = waited + kLookSeconds;
    }
    sleepOn(control_->bell, seen, std::min(kLookSeconds, std::max(0.001, timeout - waited)));
  }
}

/// "rank 1 (process 4242, last at "forward and backward")"
std::string Segment::describe(int r) const {
  const RankState& state = control_->ranks[r];
  const int32_t process = state.process.load(std::memory_order_acquire);
  const std::string who = "rank " + std::to_string(r);
  return process ? who + " (process " + std::to_string(process) + ", last at \"" + state.place.get() + "\")" : who + " (which never started)";
}

/// "rank 1 (..) has", "rank 1 (..), rank 2 (..) have"
std::string Segment::missing() const {
  std::string names;
  int count = 0;
  for (int r = 0; r < size(); r++)
    if (!arrived(r) && r != rank_) names += (count++ ? ", " : "") + describe(r);
  return names + (count > 1 ? " have" : " has");
}

void Segment::lost(const std::string& sentence) {
  broken_ = sentence;
  broken_[0] = static_cast<char>(std::toupper(broken_[0]));
  throw Error("lost-rank", broken_);
}

void Segment::compare(Signature signature) const {
  for (int r = 0; r < size(); r++) {
    const RankState& other = control_->ranks[r];
    const uint32_t kind = other.kind[meetings_ % 2].load(std::memory_order_relaxed);
    const uint64_t bytes = other.bytes[meetings_ % 2].load(std::memory_order_relaxed);
    if (kind == signature.kind && bytes == signature.bytes) continue;
    throw Error("internal", "rank " + std::to_string(rank_) + " came to \"" + control_->ranks[rank_].place.get() + "\" with " + std::to_string(signature.bytes) +
                                " bytes, but rank " + std::to_string(r) + " to \"" + other.place.get() + "\" with " + std::to_string(bytes) +
                                "; all ranks must make the same calls in the same order.");
  }
}

}  // namespace moe::comm
