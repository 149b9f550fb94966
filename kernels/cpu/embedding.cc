// Gather of table rows, and its gradient.
//
//   forward   y[r] = scale * table[ids[r]]          backward   dtable[v] += scale * sum over r with ids[r] = v of dy[r]
//
// How it runs: forward copies rows, bound by memory. Backward gives each task a range of table rows in a strip of
// columns (frequent ids are neighbours, so rows alone would share the work badly) and walks all ids in order: every value
// has one owner, sums run in the order of r, and nothing depends on the number of threads.
#include "elementwise.h"

namespace moe::MOE_ISA {

namespace {

constexpr int64_t kRowsPerTask = 64;
constexpr int64_t kTableTasks = 32;
constexpr int64_t kStrip = 256;  // columns of one task

void checkIds(const In& ids, int64_t vocabulary, const char* op) {
  const int32_t* id = ids.as<int32_t>();
  for (int64_t r = 0; r < ids.size(); r++)
    if (id[r] < 0 || id[r] >= vocabulary)
      throw Error("bad-argument", std::string(op) + ": ids[" + std::to_string(r) + "] is " + std::to_string(id[r]) + "; the table has rows 0 to " +
                                      std::to_string(vocabulary - 1) + ".");
}

}  // namespace

void embedding_forward(Out y, In table, In ids, float scale) {
  checkIds(ids, table.shape[0], "embedding_forward");
  const int64_t rows = ids.size(), width = table.shape[1];
  dispatch(y.dtype, [&](auto a) {
    dispatch(table.dtype, [&](auto b) {
      using A = decltype(a);
      using B = decltype(b);
      parallel::loop(divideUp(rows, kRowsPerTask), [&](int64_t task, int) {
        const int64_t end = (task + 1) * kRowsPerTask < rows ? (task + 1) * kRowsPerTask : rows;
        for (int64_t r = task * kRowsPerTask; r < end; r++) {
          const B* from = table.as<B>() + ids.as<int32_t>()[r] * width;
          A* to = y.as<A>() + r * width;
          map(to, width, [scale](vec v) { return scale * v; }, from);
        }
      });
    });
  });
}

void embedding_backward(Acc dtable, In dy, In ids, float scale) {
  if (!dtable || dtable.size() == 0) return;
  checkIds(ids, dtable.shape[0], "embedding_backward");
  const int64_t vocabulary = dtable.shape[0], width = dtable.shape[1], rows = ids.size();
  const int64_t perTask = divideUp(vocabulary, kTableTasks), strips = divideUp(width, kStrip);
  dispatch(dy.dtype, [&](auto t) {
    using T = decltype(t);
    parallel::loop(divideUp(vocabulary, perTask) * strips, [&](int64_t task, int) {
      const int64_t begin = task / strips * perTask, end = begin + perTask < vocabulary ? begin + perTask : vocabulary;
      const int64_t col = task % strips * kStrip, count = width - col < kStrip ? width - col : kStrip;
      float* table = dtable.as<float>() + col;
      if (dtable.beta == 0)
        for (int64_t v = begin; v < end; v++) memset(table + v * width, 0, static_cast<size_t>(count) * sizeof(float));
      for (int64_t r = 0; r < rows; r++) {
        const int64_t id = ids.as<int32_t>()[r];
        if (id < begin || id >= end) continue;
        accumulate(1, table + id * width, count, [scale](vec g) { return scale * g; }, dy.as<T>() + r * width + col);
      }
    });
  });
}

}  // namespace moe::MOE_ISA
