#include "hopper.cuh"

#include <algorithm>
#include <string>
#include <vector>

#include "../../../native/tensor.h"
#include "hopper.h"

namespace moe::machine {

namespace {

constexpr int kLine = 128, kBoxCols = 64, kChunkBytes = 16, kRepeat = 1024;  // bytes of a tile's row, its elements; bytes of a swizzle

/// A mbarrier as it lies in shared memory. Fresh memory, all ones, is none.
struct Word {
  int32_t bytes;      ///< that this phase still waits for
  uint16_t arrivals;  ///< of a phase
  uint16_t left : 15, phase : 1;
};
static_assert(sizeof(Word) == sizeof(ptx::Mbarrier));
constexpr uint16_t kNone = 0xffff;

struct BoxCopy {
  unsigned char* to;
  int bytes;
  const void* plain;  ///< copied as it lies; without it a box:
  TensorMap map;
  int row, col;
  ptx::Mbarrier* barrier;
  uint16_t phase;  ///< of the barrier, when it was issued
};

struct Product {
  float* d;
  int count, group;
  uint64_t a, b;
  bool add, aFirst, bFirst;
  const uint32_t* registers = nullptr;  ///< a where it lies in registers, and what they and the quad's other lanes held
  uint32_t held[4][4] = {};
};
/// Accumulators while their registers are poison.
struct Sums {
  float* d;
  std::vector<float> values;
};
struct Products {
  std::vector<Product> inFlight;
  std::vector<Sums> sums;
  int group = 0;
  bool fenced = false;
};

/// What a thread brought into shared memory by cp.async and has not fenced: bytes from the arena's begin.
struct Landed {
  int thread, begin, end;
};

struct Block {
  std::vector<BoxCopy> copies;
  std::vector<ptx::Mbarrier*> barriers;
  std::vector<std::pair<int, ptx::Mbarrier*>> unfenced;  ///< thread that initialised, barrier
  std::vector<Landed> landed;                            ///< that wgmma may not see yet
  std::vector<Products> products{kMaxThreads};
};
Block& block() {
  static Block* all = new Block;
  return *all;
}

Word& wordOf(ptx::Mbarrier* b) {
  requireSharedBytes(b, sizeof(Word), 8, "a mbarrier lies outside the block's shared memory or at an odd address");
  Word& w = *reinterpret_cast<Word*>(b);
  if (w.arrivals == kNone) fail("a mbarrier is used before it was initialised");
  return w;
}

void settle(ptx::Mbarrier* b, Word& w) {
  if (w.left != 0 || w.bytes != 0) return;
  w.left = w.arrivals;
  w.phase ^= 1;
  wake(b);
}

void arriveWith(ptx::Mbarrier* b, int bytes) {
  Word& w = wordOf(b);
  if (w.left == 0) fail("more threads arrive at a mbarrier than its phase has arrivals");
  w.bytes += bytes;
  w.left--;
  settle(b, w);
}

std::string nameOf(const ptx::Mbarrier* b) { return "mbarrier at byte " + std::to_string(sharedOffset(b)); }

/// The box, swizzled: chunk c of row r lies at chunk c ^ r%8.
void land(const BoxCopy& c) {
  if (c.plain) return void(memcpy(c.to, c.plain, static_cast<size_t>(c.bytes)));
  for (int r = 0; r < c.map.boxRows; r++)
    for (int chunk = 0; chunk < kLine / kChunkBytes; chunk++) {
      auto* to = reinterpret_cast<bf16*>(c.to + r * kLine + fragment::swizzle(r, chunk, kLine / kChunkBytes) * kChunkBytes);
      for (int e = 0; e < kChunkBytes / 2; e++) {
        const int64_t row = int64_t{c.row} + r, col = int64_t{c.col} + chunk * (kChunkBytes / 2) + e;
        const bool inside = row >= 0 && row < c.map.rows && col >= 0 && col < c.map.cols;
        to[e] = inside ? c.map.data[row * c.map.stride + col] : bf16{0};
      }
    }
}

/// A tile that a descriptor names: rows along k, or lines that are k with 64 elements of the rows each.
struct Operand {
  const unsigned char* arena;
  int begin, next, stride;
  bool first;
  Operand(uint64_t d, int rows, bool first)
      : arena(sharedArena()), begin(static_cast<int>(d & 0x3fff) << 4), next(static_cast<int>(d >> 16 & 0x3fff) << 4), stride(static_cast<int>(d >> 32 & 0x3fff) << 4), first(first) {
    if (d >> 62 != 1) fail("a wgmma descriptor is not of the layout with a swizzle of 128 bytes");
    if (first && rows > 64 && next == 0) fail("a wgmma descriptor of lines along k does not say where the next 64 rows lie");
    if (first) for (int part = 0; part < rows / 64; part++) require(begin + part * next, stride + 8 * kLine);
    else require(begin, (rows / 8 - 1) * stride + 7 * kLine + 32);
  }
  void require(int from, int bytes) const {
    requireShared(arena + from, static_cast<size_t>(bytes), "wgmma reads outside the block's shared memory");
    for (const Landed& l : block().landed)
      if (l.begin < from + bytes && l.end > from) fail("wgmma reads what a thread brought by cp.async and has not fenced");
  }
  float at(int row, int k) const {
    const int plain = first ? begin + row / 64 * next + k / 8 * stride + k % 8 * kLine + 2 * (row % 64) : begin + row / 8 * stride + row % 8 * kLine + 2 * k;
    return widen(*reinterpret_cast<const bf16*>(arena + fragment::swizzledByte(plain)));
  }
};

/// Element (row, k) of a in registers, for one of the two rows that this thread's quad owns.
float heldAt(const Product& p, int row, int k) {
  for (int lane = 0; lane < 4; lane++)
    for (int e = 0; e < 8; e++)
      if (fragment::a(lane, e).col == k && fragment::a(lane, e).row == row % 16 / 8 * 8) {
        bf16 two[2];
        memcpy(two, &p.held[lane][e / 2], sizeof two);
        return widen(two[e % 2]);
      }
  fail("an element of a fragment has no owner");
}

/// This thread's part of one product.
void multiply(const Product& p, std::vector<float>& sums, int thread) {
  const Operand b(p.b, 2 * p.count, p.bFirst);
  float a[2][16];  // of the two rows that this thread owns
  for (int i = 0; i <= 2; i += 2) {
    const int row = fragment::accumulator(thread, i).row;
    for (int k = 0; k < 16; k++) a[i / 2][k] = p.registers ? heldAt(p, row, k) : Operand(p.a, 64, p.aFirst).at(row, k);
  }
  if (p.registers && memcmp(p.registers, p.held[thread % 4], sizeof p.held[0])) fail("registers that a wgmma reads changed before it was waited for");
  for (int i = 0; i < p.count; i++) {
    const fragment::Place at = fragment::accumulator(thread, i);
    float sum = p.add ? sums[i] : 0;
    for (int k = 0; k < 16; k++) sum += a[i % 4 / 2][k] * b.at(at.col, k);
    sums[i] = sum;
  }
}

/// Takes up a product whose operands the lanes agree on.
void take(Product p) {
  Products& own = block().products[currentThread()];
  if (!own.fenced) fail("wgmma without a wgmma.fence since its registers were last touched");
  const auto known = std::find_if(own.sums.begin(), own.sums.end(), [&](const Sums& s) { return s.d == p.d; });
  if (known == own.sums.end()) {
    own.sums.push_back({p.d, std::vector<float>(p.d, p.d + p.count)});
    memset(p.d, 0xff, p.count * sizeof(float));
  }
  p.group = own.group;
  own.inFlight.push_back(p);
}

}  // namespace

TensorMap tensorMap(const void* data, int64_t rows, int64_t cols, int64_t stride, int boxRows) {
  if (reinterpret_cast<uintptr_t>(data) % 16 || stride % 8 || boxRows < 1 || boxRows > 256 || rows < 1 || cols < 1)
    throw Error("internal", "a tensor map is not as the driver wants it: memory and rows at multiples of 16 bytes, boxes of 1 to 256 rows.");
  return {static_cast<const bf16*>(data), rows, cols, stride, boxRows};
}

namespace {
struct Lane {
  uint64_t a, b;
  const uint32_t* registers;
  bool same;
  uint32_t held[4][4];  ///< of the quad
};
/// The lanes of a warp meet at a product: they must agree, and a quad shares its fragments.
void agree(Lane& mine) {
  meet("wgmma", &mine, [](void** lanes) {
    const auto lane = [&](int i) { return static_cast<Lane*>(lanes[i]); };
    for (int i = 0; i < kWarp; i++) {
      lane(i)->same = lane(i)->a == lane(0)->a && lane(i)->b == lane(0)->b;
      for (int j = 0; j < 4 && lane(i)->registers; j++) memcpy(lane(i)->held[j], lane(i / 4 * 4 + j)->registers, sizeof lane(i)->held[j]);
    }
  });
  if (!mine.same) fail("the lanes of a warp give wgmma different descriptors");
}
}  // namespace

void issueProduct(float* d, int count, uint64_t a, uint64_t b, bool add, bool aFirst, bool bFirst) {
  Lane mine{a, b, nullptr, true, {}};
  agree(mine);
  take({d, count, 0, a, b, add, aFirst, bFirst});
}

void issueProduct(float* d, int count, const uint32_t* a, uint64_t b, bool add, bool bFirst) {
  Lane mine{0, b, a, true, {}};
  agree(mine);
  Product p{d, count, 0, 0, b, add, false, bFirst};
  p.registers = a;
  memcpy(p.held, mine.held, sizeof p.held);
  take(p);
}

void fenceProducts() { block().products[currentThread()].fenced = true; }
void commitProducts() { block().products[currentThread()].group++; }

void landProducts(int groupsInFlight) {
  const int me = currentThread();
  Products& own = block().products[me];
  const auto sumsOf = [&](float* d) { return std::find_if(own.sums.begin(), own.sums.end(), [&](const Sums& s) { return s.d == d; }); };
  size_t done = 0;
  while (done < own.inFlight.size() && own.inFlight[done].group < own.group - groupsInFlight) {
    const Product& p = own.inFlight[done++];
    multiply(p, sumsOf(p.d)->values, me);
  }
  own.inFlight.erase(own.inFlight.begin(), own.inFlight.begin() + static_cast<ptrdiff_t>(done));
  std::erase_if(own.sums, [&](const Sums& s) {
    const bool inUse = std::any_of(own.inFlight.begin(), own.inFlight.end(), [&](const Product& p) { return p.d == s.d; });
    if (!inUse) std::copy(s.values.begin(), s.values.end(), s.d);
    return !inUse;
  });
  if (own.sums.empty()) own.fenced = false;
  meet("wgmma.wait_group", nullptr, [](void**) {});  // the instruction is the warp's: no lane is past it before all have their sums
}

void requireLanded(const float* d) {
  for (const Sums& s : block().products[currentThread()].sums)
    if (s.d == d) fail("accumulators are to be used while a wgmma that adds to them is in flight");
}

// -- what the scheduler asks (hopper.h) -------------------------------------------------------------------------------------

void beginHopper() {
  block().copies.clear();
  block().barriers.clear();
  block().unfenced.clear();
  block().landed.clear();
  for (Products& p : block().products) p = {};
}

void noteLanded(const void* shared, size_t bytes) {
  if (block().barriers.empty()) return;  // a kernel of before Hopper
  const int begin = static_cast<int>(sharedOffset(shared));
  block().landed.push_back({currentThread(), begin, begin + static_cast<int>(bytes)});
}

bool landOneCopy() {
  auto& copies = block().copies;
  if (copies.empty()) return false;
  std::swap(copies[draw() % copies.size()], copies.back());
  const BoxCopy c = copies.back();
  copies.pop_back();
  land(c);
  Word& w = *reinterpret_cast<Word*>(c.barrier);
  if (w.phase != c.phase) fail("a tensor copy arrives after the phase of its mbarrier has ended, which was told of fewer bytes");
  w.bytes -= c.bytes;
  settle(c.barrier, w);
  return true;
}

const char* unfinishedInThread() {
  return block().products[currentThread()].inFlight.empty() ? nullptr : "a thread ended without waiting for its wgmma";
}
const char* unfinishedInBlock() { return block().copies.empty() ? nullptr : "a block ended while a tensor copy was in flight"; }

std::string openBarriers() {
  std::string text;
  for (ptx::Mbarrier* b : block().barriers) {
    const Word& w = *reinterpret_cast<Word*>(b);
    if (w.left == w.arrivals && w.bytes == 0) continue;
    text += "; " + nameOf(b) + " is in phase " + std::to_string(w.phase) + " and lacks " + std::to_string(w.left) + " of " + std::to_string(w.arrivals) + " arrivals and " +
            std::to_string(w.bytes) + " bytes";
  }
  return text;
}

}  // namespace moe::machine

namespace moe::ptx {

using namespace machine;

void initBarrier(Mbarrier* b, int arrivals) {
  requireSharedBytes(b, sizeof(Word), 8, "a mbarrier lies outside the block's shared memory or at an odd address");
  if (arrivals < 1 || arrivals >= 1 << 15) fail("a mbarrier is initialised with a number of arrivals that it cannot hold");
  *reinterpret_cast<Word*>(b) = {0, static_cast<uint16_t>(arrivals), static_cast<uint16_t>(arrivals), 0};
  block().barriers.push_back(b);
  block().unfenced.emplace_back(currentThread(), b);
}

void fenceBarrierInit() {
  std::erase_if(block().unfenced, [](const auto& u) { return u.first == currentThread(); });
}

void fenceAsyncProxy() {
  std::erase_if(block().landed, [](const Landed& l) { return l.thread == currentThread(); });
}

void arrive(Mbarrier* b) { arriveWith(b, 0); }
void arriveExpect(Mbarrier* b, int bytes) { arriveWith(b, bytes); }

void waitBarrier(Mbarrier* b, uint32_t parity) {
  while (wordOf(b).phase == parity) sleepOn(b, nameOf(b) + " for phase " + std::to_string(parity));
}

namespace {
void begin(BoxCopy c) {
  requireShared(c.to, static_cast<size_t>(c.bytes), "a tensor copy goes outside the block's shared memory");
  c.phase = wordOf(c.barrier).phase;
  for (const auto& [thread, barrier] : block().unfenced)
    if (barrier == c.barrier) fail("a tensor copy counts on a mbarrier whose initialisation was not fenced");
  memset(c.to, 0xff, static_cast<size_t>(c.bytes));
  block().copies.push_back(c);
}
}  // namespace

void copyBox(void* shared, const TensorMap& map, int row, int col, Mbarrier* b) {
  if (sharedOffset(shared) % kRepeat) fail("a tensor copy goes to an address that is no multiple of 1024, where its swizzle would begin elsewhere");
  begin({static_cast<unsigned char*>(shared), map.boxRows * kLine, nullptr, map, row, col, b, 0});
}

void copyBytes(void* shared, const void* global, int bytes, Mbarrier* b) {
  if (bytes % 16 || reinterpret_cast<uintptr_t>(global) % 16) fail("a copy of bytes begins or ends at an address that is no multiple of 16");
  begin({static_cast<unsigned char*>(shared), bytes, global, {}, 0, 0, b, 0});
}

uint64_t descriptorFirst(const void* p, int next) {
  if (next % kRepeat) fail("the next 64 rows of a wgmma tile lie at a distance that is no multiple of 1024");
  return (sharedOffset(p) >> 4 & 0x3fff) | static_cast<uint64_t>(next >> 4 & 0x3fff) << 16 | uint64_t{kRepeat >> 4} << 32 | uint64_t{1} << 62;
}

uint64_t descriptor(const void* p) {
  return (sharedOffset(p) >> 4 & 0x3fff) | uint64_t{1} << 16 | uint64_t{kRepeat >> 4} << 32 | uint64_t{1} << 62;
}

}  // namespace moe::ptx
