// Rotary positions: pair i of row r turns by the angle of its position.
//
//   (a, b) -> (a cos - b sin, a sin + b cos)      pairs (2i, 2i+1) when interleaved, else (i, i + D/2); inverse: -sin
//
// How it runs: a task takes some rows. A row's cosines and sines are laid out once as its channels lie, then every head
// is one pass: x * cosines + partner * sines. What bounds it: reading and writing x.
#include "cpu.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kGrain = 1 << 14;  // elements of a task, about

/// The partners of interleaved pairs: neighbours change places.
vec swapped(vec x) {
  ivec other;
  for (int i = 0; i < kLanes; i++) other[i] = i ^ 1;
  return __builtin_shuffle(x, other);
}

/// The angles of one row: a' = a*cosine[i] + b*sine[i] for each channel a with its partner b.
struct Turn {
  float *cosine, *sine;
  int64_t size;

  void at(const float* table, bool interleaved, bool inverse) const {
    const int64_t half = size / 2;
    for (int64_t i = 0; i < half; i++) {
      const int64_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
      const float s = inverse ? -table[half + i] : table[half + i];
      cosine[a] = cosine[b] = table[i];
      sine[a] = -s;
      sine[b] = s;
    }
  }
};

template <class T> void turnPairs(T* x, const Turn& turn) {
  int64_t i = 0;
  for (; i + kLanes <= turn.size; i += kLanes) {
    const vec a = load(x + i);
    store(x + i, a * load(turn.cosine + i) + swapped(a) * load(turn.sine + i));
  }
  for (; i < turn.size; i += 2) {
    const float a = widen(x[i]), b = widen(x[i + 1]);
    put(x + i, a * turn.cosine[i] + b * turn.sine[i]);
    put(x + i + 1, b * turn.cosine[i + 1] + a * turn.sine[i + 1]);
  }
}

template <class T> void turnHalves(T* x, const Turn& turn) {
  const int64_t half = turn.size / 2;
  T* y = x + half;
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const vec a = load(x + i), b = load(y + i), c = load(turn.cosine + i), s = load(turn.sine + half + i);
    store(x + i, a * c - b * s);
    store(y + i, b * c + a * s);
  }
  for (; i < half; i++) {
    const float a = widen(x[i]), b = widen(y[i]), c = turn.cosine[i], s = turn.sine[half + i];
    put(x + i, a * c - b * s);
    put(y + i, b * c + a * s);
  }
}

}  // namespace

void rope(Mut x, In table, In positions, bool interleaved, bool inverse) {
  const int64_t rows = x.shape[0], heads = x.shape[1], size = x.shape[2];
  const int32_t* position = positions.as<int32_t>();
  if (size % 2 != 0) throw Error("bad-argument", "rope: x has an odd number of channels; they turn in pairs.");
  bool inside = true;
  for (int64_t r = 0; r < rows; r++) inside = inside && position[r] >= 0 && position[r] < table.shape[0];
  if (!inside) throw Error("bad-argument", "rope: a position lies outside the table; make the table as long as the context.");
  if (x.size() == 0) return;
  const int64_t grain = kGrain / (heads * size) + 1;
  dispatch(x.dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(divideUp(rows, grain), [&](int64_t task, int worker) {
      auto* room = static_cast<float*>(parallel::scratch(worker, 0, 2 * size * static_cast<int64_t>(sizeof(float))));
      const Turn turn = {room, room + size, size};
      for (int64_t r = task * grain; r < rows && r < (task + 1) * grain; r++) {
        turn.at(table.as<float>() + position[r] * size, interleaved, inverse);
        T* row = x.as<T>() + r * x.stride[0];
        for (int64_t h = 0; h < heads; h++) (interleaved ? turnPairs<T> : turnHalves<T>)(row + h * x.stride[1], turn);
      }
    });
  });
}

}  // namespace moe::MOE_ISA
