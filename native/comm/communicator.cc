#include "communicator.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace moe::comm {

namespace {

enum class Kind : uint32_t { barrier, allReduce, reduceScatter, allGather };

uint32_t kindOf(Kind kind, Operation operation = Operation::sum, DType dtype = DType::u8) {
  return static_cast<uint32_t>(kind) | static_cast<uint32_t>(operation) << 8 | static_cast<uint32_t>(dtype) << 16;
}

/// Several tensors as one row of bytes.
class Row {
 public:
  void add(const View& view) {
    if (!view.contiguous()) throw Error("bad-argument", "a collective was given a strided view; copy it first.");
    const size_t bytes = static_cast<size_t>(view.size()) * moe::bytes(view.dtype);
    if (bytes == 0) return;
    parts_.push_back({view, bytes_, bytes});
    bytes_ += bytes;
  }
  size_t bytes() const { return bytes_; }
  /// Bytes of the row from `begin` on that a chunk of so many takes.
  size_t chunk(size_t begin, size_t most) const { return begin < bytes_ ? std::min(most, bytes_ - begin) : 0; }

  void copyOut(char* to, size_t begin, size_t count) const {
    each(begin, count, [&](const Part& p, size_t at, size_t from, size_t n) { p.backend().copy_out(to + at, p.data() + from, n); });
  }
  void copyIn(const char* from, size_t begin, size_t count) const {
    each(begin, count, [&](const Part& p, size_t at, size_t to, size_t n) {
      p.backend().copy_in(p.data() + to, from + at, n);
      p.view.buffer->version++;
    });
  }

 private:
  struct Part {
    View view;
    size_t begin, bytes;  // in the row
    char* data() const { return static_cast<char*>(view.data); }
    const Backend& backend() const { return *view.buffer->owner->backend(); }
  };

  /// Calls f(part, place in the chunk, place in the part, bytes) for each stretch of the chunk.
  template <class F> void each(size_t begin, size_t count, F&& f) const {
    const size_t end = begin + count;
    auto part = std::upper_bound(parts_.begin(), parts_.end(), begin, [](size_t at, const Part& p) { return at < p.begin + p.bytes; });
    for (; part != parts_.end() && part->begin < end; ++part) {
      const size_t from = std::max(begin, part->begin), to = std::min(end, part->begin + part->bytes);
      f(*part, from - begin, from - part->begin, to - from);
    }
  }

  std::vector<Part> parts_;
  size_t bytes_ = 0;
};

// ---- sums ----------------------------------------------------------------------------------------------------------------

inline float wide(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// To the nearest bf16, ties to even.
inline uint16_t narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class T> struct Element {  // f32, f64, i32
  using Wide = T;
  static T load(T x) { return x; }
  static T store(T x) { return x; }
};
template <> struct Element<uint16_t> {  // bf16
  using Wide = float;
  static float load(uint16_t x) { return wide(x); }
  static uint16_t store(float x) { return narrow(x); }
};

/// A value that is not a number stays one.
template <class T> T larger(T a, T b) { return a > b || a != a ? a : b; }

/// to = the sum or the largest of the rows, taken in their order. `to` may be one of them.
template <class T> void reduce(char* to, const std::vector<const char*>& rows, size_t count, Operation operation) {
  using E = Element<T>;
  constexpr size_t kBlock = 1024;
  typename E::Wide block[kBlock];
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t n = std::min(kBlock, count - begin);
    for (size_t r = 0; r < rows.size(); r++) {
      const T* row = reinterpret_cast<const T*>(rows[r]) + begin;
      if (r == 0)
        for (size_t i = 0; i < n; i++) block[i] = E::load(row[i]);
      else if (operation == Operation::sum)
        for (size_t i = 0; i < n; i++) block[i] += E::load(row[i]);
      else
        for (size_t i = 0; i < n; i++) block[i] = larger(block[i], E::load(row[i]));
    }
    T* out = reinterpret_cast<T*>(to) + begin;
    for (size_t i = 0; i < n; i++) out[i] = E::store(block[i]);
  }
}

void reduce(char* to, const std::vector<const char*>& rows, size_t bytes, DType dtype, Operation operation) {
  const size_t count = bytes / static_cast<size_t>(moe::bytes(dtype));
  switch (dtype) {
    case DType::f32: return reduce<float>(to, rows, count, operation);
    case DType::bf16: return reduce<uint16_t>(to, rows, count, operation);
    case DType::i32: return reduce<int32_t>(to, rows, count, operation);
    case DType::f64: return reduce<double>(to, rows, count, operation);
    case DType::u8: throw Error("bad-argument", "bytes (u8) cannot be summed over ranks; gather them.");
  }
}

DType commonType(const std::vector<View>& views) {
  for (const View& view : views)
    if (view.dtype != views[0].dtype)
      throw Error("bad-argument", std::string("tensors of ") + name(views[0].dtype) + " and of " + name(view.dtype) + " cannot be reduced in one collective.");
  return views.empty() ? DType::f32 : views[0].dtype;
}

/// The pieces of each rank as a row.
std::vector<Row> rowsOf(const std::vector<Piece>& pieces, int size) {
  std::vector<Row> rows(static_cast<size_t>(size));
  for (const Piece& piece : pieces) {
    if (piece.owner < 0 || piece.owner >= size)
      throw Error("bad-argument", "a piece belongs to rank " + std::to_string(piece.owner) + ", but there are " + std::to_string(size) + " ranks.");
    rows[static_cast<size_t>(piece.owner)].add(piece.view);
  }
  return rows;
}

size_t longest(const std::vector<Row>& rows) {
  size_t most = 0;
  for (const Row& row : rows) most = std::max(most, row.bytes());
  return most;
}

size_t total(const std::vector<Row>& rows) {
  size_t sum = 0;
  for (const Row& row : rows) sum += row.bytes();
  return sum;
}

}  // namespace

// Every collective goes in rounds: each rank fills its slot, all meet, each takes what it needs. Two banks of slots (segment.h)
// make one meeting a round enough.

void Communicator::barrier(const std::string& what, double timeout) {
  enter(what);
  segment_.meet({kindOf(Kind::barrier), 0}, timeout);
}

void Communicator::allReduce(const std::vector<View>& tensors, Operation operation, const std::string& what) {
  enter(what);
  const DType dtype = commonType(tensors);
  Row row;
  for (const View& view : tensors) row.add(view);
  const size_t most = segment_.slotBytes();
  std::vector<char> sum(std::min(most, row.bytes()));
  size_t begin = 0;
  do {
    const size_t bytes = row.chunk(begin, most);
    row.copyOut(segment_.slot(rank()), begin, bytes);
    std::vector<const char*> slots;
    for (int r = 0; r < size(); r++) slots.push_back(segment_.slot(r));
    segment_.meet({kindOf(Kind::allReduce, operation, dtype), row.bytes()});
    reduce(sum.data(), slots, bytes, dtype, operation);
    row.copyIn(sum.data(), begin, bytes);
    begin += most;
  } while (begin < row.bytes());
}

void Communicator::reduceScatter(const std::vector<Piece>& pieces, Operation operation, const std::string& what) {
  enter(what);
  std::vector<View> views;
  for (const Piece& piece : pieces) views.push_back(piece.view);
  const DType dtype = commonType(views);
  const std::vector<Row> rows = rowsOf(pieces, size());
  const size_t section = segment_.slotBytes() / static_cast<size_t>(size()) / 64 * 64;  // of each slot, for each owner
  const Row& own = rows[static_cast<size_t>(rank())];
  const size_t end = longest(rows);
  size_t begin = 0;
  do {
    char* const slot = segment_.slot(rank());
    for (size_t owner = 0; owner < rows.size(); owner++) rows[owner].copyOut(slot + owner * section, begin, rows[owner].chunk(begin, section));
    const size_t place = static_cast<size_t>(rank()) * section;
    std::vector<const char*> sections;
    for (int r = 0; r < size(); r++) sections.push_back(segment_.slot(r) + place);
    segment_.meet({kindOf(Kind::reduceScatter, operation, dtype), total(rows)});
    const size_t bytes = own.chunk(begin, section);
    reduce(slot + place, sections, bytes, dtype, operation);
    own.copyIn(slot + place, begin, bytes);
    begin += section;
  } while (begin < end);
}

void Communicator::allGather(const std::vector<Piece>& pieces, const std::string& what) {
  enter(what);
  const std::vector<Row> rows = rowsOf(pieces, size());
  const size_t most = segment_.slotBytes(), end = longest(rows);
  size_t begin = 0;
  do {
    const Row& own = rows[static_cast<size_t>(rank())];
    own.copyOut(segment_.slot(rank()), begin, own.chunk(begin, most));
    std::vector<const char*> slots;
    for (int r = 0; r < size(); r++) slots.push_back(segment_.slot(r));
    segment_.meet({kindOf(Kind::allGather), total(rows)});
    for (int r = 0; r < size(); r++) {
      const Row& row = rows[static_cast<size_t>(r)];
      if (r != rank()) row.copyIn(slots[static_cast<size_t>(r)], begin, row.chunk(begin, most));
    }
    begin += most;
  } while (begin < end);
}

}  // namespace moe::comm
