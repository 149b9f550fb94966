// One token per row of logits.
//
//   penalty    logits of ids in the history are divided (positive) or multiplied (negative) by it, once an id
//   order      temperature, then top-k, top-p, min-p, then one draw from what is left
//   logprob    log softmax(logits / temperature) at the token, before penalty and truncation; at temperature 0 (greedy) as
//              if it were 1. The bits of -nll in cross_entropy.cc, so that a policy is trained on what was sampled
//
// How it runs: a row is a task. Nothing is sorted: top-k and top-p both keep the most likely tokens down to a border, which
// is found by bisecting on the logit. Each step counts (or weighs) the logits above the middle; once few are left between
// the bounds only those are looked at, so a row of 130k is read about six times. Ties at the border go to the smaller ids.
// The draw is the inverse of the cumulative sum in the order of ids at u = uniform(seed, position): it depends on nothing
// else. Bound by exp and the second-level cache. (Holtzman et al., arXiv:1904.09751; Nguyen et al., arXiv:2407.01082)
#include "cross_entropy.h"
#include "elementwise.h"
#include "random.h"

namespace moe::MOE_ISA {

namespace {

constexpr float kLargest = 3.4028235e38f;
constexpr float kSteepest = 1e30f;     // 1 / temperature at most, so that 0 times it stays 0
constexpr int64_t kPiece = 1024;       // elements that are summed in f32 before f64 takes over
constexpr uint32_t kDraw = 1;          // this op's stream of random numbers

struct Settings {
  float temperature, topP, minP, penalty;
};

/// A row being cut down: x = (logit - largest) / temperature <= 0, and p = exp(x).
struct Row {
  float *x, *p;
  int64_t n;
};

struct Tally {
  int64_t count = 0;
  double mass = 0;
};

/// Number and mass of the entries with x >= limit.
Tally tally(const Row& r, float limit) {
  Tally all;
  for (int64_t first = 0; first < r.n; first += kPiece) {
    const int64_t end = first + kPiece < r.n ? first + kPiece : r.n;
    vec mass{};
    ivec count{};
    int64_t i = first;
    for (; i + kLanes <= end; i += kLanes) {
      const ivec inside = load(r.x + i) >= splat(limit);
      mass += reinterpret_cast<vec>(reinterpret_cast<ivec>(load(r.p + i)) & inside);
      count -= inside;
    }
    for (int lane = 0; lane < kLanes; lane++) all.count += count[lane];
    all.mass += sum(mass);
    for (; i < end; i++)
      if (r.x[i] >= limit) {
        all.count++;
        all.mass += r.p[i];
      }
  }
  return all;
}

/// Integers in the order of the floats, and back.
int64_t ordered(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits >> 31 ? -static_cast<int64_t>(bits & 0x7fffffff) : static_cast<int64_t>(bits);
}
float unordered(int64_t key) {
  const uint32_t bits = key >= 0 ? static_cast<uint32_t>(key) : static_cast<uint32_t>(-key) | 0x80000000u;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

/// Moves the entries with low <= x < high to `room`, which may be where they are.
Row between(const Row& r, float low, float high, const Row& room) {
  Row out{room.x, room.p, 0};
  for (int64_t i = 0; i < r.n; i++) {
    const float x = r.x[i], p = r.p[i];
    out.x[out.n] = x;
    out.p[out.n] = p;
    out.n += x >= low && x < high;
  }
  return out;
}

/// What stays: all entries above `border`, and the first `ties` of the `equal` ones at it.
struct Cut {
  float border = -INFINITY;
  int64_t equal = 0, ties = 0;
  Tally above;            ///< of the entries above the border
  float probability = 0;  ///< p at the border

  double mass() const { return above.mass + static_cast<double>(ties) * probability; }
  bool tighterThan(const Cut& other) const { return border > other.border || (border == other.border && ties < other.ties); }
};

/// The highest border such that the entries at or above it are enough; `ties` is left open.
template <class F> Cut findCut(const Row& row, const Row& room, F&& enough) {
  Row r = row;   // the entries still in question, and, until the first move, all others
  Tally gone;    // of those that left r because they are above all in question
  Tally above, atLow = tally(row, -INFINITY);
  int64_t low = ordered(-INFINITY), high = ordered(0.f) + 1;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    Tally here = tally(r, unordered(middle));
    here.count += gone.count;
    here.mass += gone.mass;
    if (enough(here)) {
      low = middle;
      atLow = here;
    } else {
      high = middle;
      above = here;
    }
    if (4 * (atLow.count - above.count) > r.n) continue;
    r = between(r, unordered(low), unordered(high), room);
    gone = above;
  }
  const float border = unordered(low);
  return {border, atLow.count - above.count, 0, above, exp(splat(border))[0]};
}

/// The `keep` most likely entries.
Cut mostLikely(const Row& row, const Row& room, int64_t keep) {
  Cut cut = findCut(row, room, [keep](const Tally& t) { return t.count >= keep; });
  cut.ties = keep - cut.above.count;
  return cut;
}

/// The fewest of the most likely entries whose mass reaches `wanted`.
Cut nucleus(const Row& row, const Row& room, double wanted) {
  Cut cut = findCut(row, room, [wanted](const Tally& t) { return t.mass >= wanted; });
  const double missing = wanted - cut.above.mass;
  cut.ties = cut.equal;
  if (cut.probability > 0 && missing < cut.probability * static_cast<double>(cut.equal)) cut.ties = static_cast<int64_t>(std::ceil(missing / cut.probability));
  if (cut.ties < 1) cut.ties = 1;
  return cut;
}

/// Sets p to 0 for all that is cut off, or less likely than minP times the most likely.
void drop(const Row& row, const Cut& cut, float minP) {
  const float border = cut.border;
  map(row.p, row.n, [=](vec x, vec p) { return x < splat(border) ? vec{} : p < splat(minP) ? vec{} : p; }, static_cast<const float*>(row.x),
      static_cast<const float*>(row.p));
  if (cut.ties >= cut.equal) return;
  int64_t left = cut.ties;
  for (int64_t i = 0; i < row.n; i++)
    if (row.x[i] == border && left-- <= 0) row.p[i] = 0;
}

/// f(piece of p, its elements) in order, until it returns true.
template <class F> void pieces(const Row& row, F&& f) {
  for (int64_t first = 0; first < row.n; first += kPiece)
    if (f(first, row.n - first < kPiece ? row.n - first : kPiece)) return;
}

double massOf(const Row& row, int64_t first, int64_t count) {
  return reduce(count, [](vec p) { return p; }, static_cast<const float*>(row.p + first));
}

double massOf(const Row& row) {
  double mass = 0;
  pieces(row, [&](int64_t first, int64_t count) {
    mass += massOf(row, first, count);
    return false;
  });
  return mass;
}

/// The first id at which the cumulative mass passes u of the whole.
int64_t draw(const Row& row, float u) {
  double left = u * massOf(row);
  int64_t id = 0;
  pieces(row, [&](int64_t first, int64_t count) {
    const double mass = massOf(row, first, count);
    if (mass <= 0) return false;
    bool passed = false;
    for (int64_t i = first; i < first + count && left < mass && !passed; i++) {
      if (row.p[i] <= 0) continue;
      id = i;
      passed = (left -= row.p[i]) < 0;
    }
    if (!passed && left >= mass) {  // the draw lies further on
      left -= mass;
      for (int64_t i = first + count - 1; i >= first; i--)
        if (row.p[i] > 0) {
          id = i;  // unless rounding leaves nothing further on
          break;
        }
    }
    return passed;
  });
  return id;
}

float largestOf(const float* x, int64_t n) {
  float largest = -INFINITY;
  int64_t i = 0;
  if (n >= kLanes) {
    vec high = load(x);
    for (; i + kLanes <= n; i += kLanes) high = vmax(high, load(x + i));
    largest = maximum(high);
  }
  for (; i < n; i++) largest = x[i] > largest ? x[i] : largest;
  return largest == -INFINITY ? 0.f : largest;  // nothing is possible: every difference stays -inf
}

int64_t first(const float* x, int64_t n, float value) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] == value) return i;
  return 0;
}

/// x = (x - largest) * factor, p = exp(x). Returns the mass.
double exponentiate(const Row& row, float largest, float factor) {
  map(row.x, row.n, [=](vec x) { return (x - largest) * factor; }, static_cast<const float*>(row.x));
  map(row.p, row.n, [](vec x) { return exp(x); }, static_cast<const float*>(row.x));
  return massOf(row);
}

/// NaN counts as impossible, and infinity as very likely: differences stay numbers.
template <class T> void fetch(const T* logits, const Row& row) {
  map(row.x, row.n, [](vec x) { return x == x ? vmin(x, splat(kLargest)) : splat(-INFINITY); }, logits);
}

/// Every id of the history once: from the logit as it was given, so that a second time changes nothing.
template <class T> void penalise(const T* logits, const Row& row, const int32_t* history, int64_t count, float penalty) {
  for (int64_t j = 0; j < count; j++) {
    const int64_t id = history[j];
    if (id < 0 || id >= row.n) continue;
    const float x = widen(logits[id]);
    row.x[id] = x > 0 ? x / penalty : x == x ? x * penalty : -INFINITY;
  }
}

/// Cuts the row down and draws.
int64_t choose(const Row& row, const Row& room, double mass, int64_t topK, const Settings& s, float u) {
  Cut cut;
  if (topK > 0 && topK < row.n) {
    cut = mostLikely(row, room, topK);
    mass = cut.mass();
  }
  if (s.topP < 1) {
    const Cut closer = nucleus(row, room, s.topP * mass);
    if (closer.tighterThan(cut)) cut = closer;
  }
  drop(row, cut, s.minP);
  return draw(row, u);
}

}  // namespace

void sample(Out ids, Out logprob, In logits, In settings, In top_k, In seeds, MaybeIn history) {
  const int64_t rows = logits.shape[0], n = logits.shape[1], seen = history ? history.shape[1] : 0;
  if (n == 0) throw Error("bad-argument", "sample: the rows of logits are empty.");
  dispatch(logits.dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(rows, [&](int64_t r, int worker) {
      const float* given = settings.as<float>() + 4 * r;
      const Settings s{given[0], given[1], given[2], given[3]};
      const int32_t* seed = seeds.as<int32_t>() + 2 * r;
      const T* source = logits.as<T>() + r * n;
      auto* memory = static_cast<float*>(parallel::scratch(worker, 0, 4 * n * static_cast<int64_t>(sizeof(float))));
      const Row row{memory, memory + n, n}, room{memory + 2 * n, memory + 3 * n, n};
      const bool greedy = !(s.temperature > 0), penalised = seen && s.penalty != 1;
      const float factor = greedy ? 1.f : 1 / s.temperature < kSteepest ? 1 / s.temperature : kSteepest;

      fetch(source, row);
      const float lse = logSumExp(row.x, n, factor);
      if (penalised) penalise(source, row, history.as<int32_t>() + r * seen, seen, s.penalty);
      const float largest = largestOf(row.x, n);
      int64_t id;
      if (greedy) {
        id = first(row.x, n, largest);
      } else {
        const double mass = exponentiate(row, largest, factor);
        const Philox p = philox(static_cast<uint32_t>(seed[0]), static_cast<uint32_t>(seed[1]), kDraw);
        id = choose(row, room, mass, top_k.as<int32_t>()[r], s, uniform(p.word[0]));
      }
      ids.as<int32_t>()[r] = static_cast<int32_t>(id);
      logprob.as<float>()[r] = widen(source[id]) * factor - lse;
    });
  });
}

}  // namespace moe::MOE_ISA
