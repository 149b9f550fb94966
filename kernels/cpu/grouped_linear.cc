// The linear layers of experts: rows m in offsets[e] .. offsets[e+1] belong to expert e.
//
//   y[m] = W[e] x[s(m)]      dx[m] = W[e]^T dy[m]      dW[e] = sum over its rows of dy[m] x[s(m)]^T
//   swiglu: gate_up[m] = W[e] x[s(m)], then y = silu(gate) * up
//
// s(m) is rows[m] when `rows` is given (the gather happens while a's rows are widened), else m. Rows from offsets[E] on
// belong to nobody: y and dx are zero there. An expert without rows is normal.
//
// How it runs: the blocks of all experts are one list of tasks, so that a popular expert is shared between threads and a
// rare one costs only its rows; on the way back an expert's dW comes beside its dx, for both read dy. What bounds it: as
// gemm/gemm.h; with a few rows per expert (decoding) reading W.
#include <optional>

#include "gemm/gated.h"
#include "gemm/packed_weight.h"

namespace moe::MOE_ISA {

namespace {

using gemm::Cut;
using gemm::PackedWeight;
using gemm::Product;

/// Blocks of fewer rows widen W too often.
constexpr int64_t kLeastRows = 8 * gemm::kTileRows;

/// The experts' rows and how the blocks of all of them are counted through.
struct Experts {
  const int32_t* offsets;
  int64_t count, total;  ///< experts, rows in all (those of nobody included)

  Experts(const In& offsets, int64_t total) : offsets(offsets.as<int32_t>()), count(offsets.shape[0] - 1), total(total) {
    const int32_t* at = this->offsets;
    bool ordered = at[0] >= 0 && at[count] <= total;
    for (int64_t e = 0; e < count; e++) ordered = ordered && at[e] <= at[e + 1];
    if (!ordered) throw Error("bad-argument", "grouped_linear: offsets must rise from 0 or more to at most the number of rows.");
  }

  int64_t rows(int64_t e) const { return offsets[e + 1] - offsets[e]; }
  int64_t used() const { return offsets[count] - offsets[0]; }
  /// Experts with rows; 1 if there is none.
  int64_t busy() const {
    int64_t n = 0;
    for (int64_t e = 0; e < count; e++) n += rows(e) > 0;
    return n > 0 ? n : 1;
  }

  /// Rows of an expert that has some.
  int64_t average() const { return divideUp(used(), busy()); }

  /// Runs body(e, task, cut, worker) for `extra` tasks of every expert, and after these, numbered on, one for each block into
  /// which `cut`, made for average() rows and busy() experts, cuts its rows x n. Expert by expert, so that what an expert's tasks
  /// share is still in the caches.
  template <class F> void blocks(Cut cut, int64_t n, int64_t extra, F&& body) const {
    if (cut.rows < kLeastRows) cut.rows = kLeastRows;  // the average expert may be rare, this one popular
    const auto tasksOf = [&](int64_t e) { return extra + (rows(e) > 0 && n > 0 ? cut.tasks(rows(e), n) : 0); };
    int64_t tasks = 0;
    for (int64_t e = 0; e < count; e++) tasks += tasksOf(e);
    parallel::loop(tasks, [&](int64_t task, int worker) {
      int64_t e = 0;
      for (; task >= tasksOf(e); e++) task -= tasksOf(e);
      body(e, task, cut, worker);
    });
  }

  /// Writes zeros to the rows of nobody.
  void clearRest(const View& y) const {
    const int64_t row = y.shape[1] * bytes(y.dtype), first = offsets[0], last = offsets[count];
    memset(y.data, 0, first * row);
    memset(static_cast<char*>(y.data) + last * row, 0, (total - last) * row);
  }
};

/// Row `first` of a contiguous matrix, or matrix `first` of a contiguous stack.
char* at(const View& v, int64_t first) { return static_cast<char*>(v.data) + first * v.stride[0] * bytes(v.dtype); }

void checkSources(const Experts& experts, const In& x, const MaybeIn& rows) {
  bool inside = true;
  if (rows)
    for (int64_t m = experts.offsets[0]; m < experts.offsets[experts.count]; m++)
      inside &= rows.as<int32_t>()[m] >= 0 && rows.as<int32_t>()[m] < x.shape[0];
  else
    inside = experts.offsets[experts.count] <= x.shape[0];
  if (!inside) throw Error("bad-argument", "grouped_linear: rows (or offsets, without rows) reach beyond the rows of x.");
}

/// The product of expert e's rows, to its rows of y.
Product forwardOf(const Experts& experts, int64_t e, const View& y, const In& x, const PackedWeight& weights, const MaybeIn& rows) {
  const int64_t first = experts.offsets[e];
  return {.a = {rows ? x.data : at(x, first), x.dtype, x.stride[0], false, rows ? rows.as<int32_t>() + first : nullptr},
          .b = weights[e],
          .c = {at(y, first), y.dtype, y.stride[0]},
          .m = experts.rows(e), .n = y.shape[1], .k = x.shape[1]};
}

}  // namespace

void grouped_linear_forward(Out y, In x, In weight, In offsets, MaybeIn rows) {
  const int64_t outer = weight.shape[1], inner = weight.shape[2];
  const Experts experts(offsets, y.shape[0]);
  checkSources(experts, x, rows);
  const PackedWeight packed({&weight, experts.count, outer, inner, weight.stride[0], weight.stride[1]}, x.dtype);
  const Cut cut = gemm::cut(experts.average(), outer, inner, experts.busy());
  experts.blocks(cut, outer, 0, [&](int64_t e, int64_t task, const Cut& cut, int worker) {
    compute(forwardOf(experts, e, y, x, packed, rows), cut.block(task, experts.rows(e), outer), worker);
  });
  experts.clearRest(y);
}

void grouped_linear_swiglu(Out y, Out gate_up, In x, In weight, In offsets, MaybeIn rows) {
  const int64_t cols = y.shape[1], inner = weight.shape[2];
  const Experts experts(offsets, y.shape[0]);
  checkSources(experts, x, rows);
  const PackedWeight packed({&weight, experts.count, 2 * cols, inner, weight.stride[0], weight.stride[1]}, x.dtype);
  const Cut cut = gemm::cutGated(experts.average(), cols, inner, experts.busy());
  experts.blocks(cut, cols, 0, [&](int64_t e, int64_t task, const Cut& cut, int worker) {
    const gemm::Gated gated{forwardOf(experts, e, gate_up, x, packed, rows), at(y, experts.offsets[e])};
    compute(gated, cut.block(task, experts.rows(e), cols), worker);
  });
  experts.clearRest(gate_up);
  experts.clearRest(y);
}

void grouped_linear_backward(Acc dx, Acc dweight, In dy, In x, In weight, In offsets, MaybeIn rows) {
  const int64_t outer = weight.shape[1], inner = weight.shape[2];
  const Experts experts(offsets, dy.shape[0]);
  checkSources(experts, x, rows);
  std::optional<PackedWeight> packed;
  if (dx) packed.emplace(gemm::Weight{&weight, experts.count, inner, outer, weight.stride[0], weight.stride[1], true}, dy.dtype);
  const Cut cut = gemm::cut(outer, inner, divideUp(experts.total, experts.count), experts.count, true);
  const int64_t each = dweight && outer > 0 && inner > 0 ? cut.tasks(outer, inner) : 0;
  const int64_t cols = dx ? inner : 0;
  experts.blocks(gemm::cut(experts.average(), cols, outer, experts.busy()), cols, each, [&](int64_t e, int64_t task, const Cut& rowCut, int worker) {
    const int64_t first = experts.offsets[e];
    if (task < each) {
      const void* source = rows ? x.data : at(x, first);
      compute(Product{.a = {at(dy, first), dy.dtype, dy.stride[0], true},
                      .b = {source, x.dtype, x.stride[0], gemm::Form::rows, rows ? rows.as<int32_t>() + first : nullptr},
                      .c = {at(dweight, e), dweight.dtype, dweight.stride[1], dweight.beta != 0},
                      .m = outer, .n = inner, .k = experts.rows(e)},
              cut.block(task, outer, inner), worker);
    } else {
      compute(Product{.a = {at(dy, first), dy.dtype, dy.stride[0]},
                      .b = (*packed)[e],
                      .c = {at(dx, first), dx.dtype, dx.stride[0], dx.beta != 0},
                      .m = experts.rows(e), .n = inner, .k = outer},
              rowCut.block(task - each, experts.rows(e), inner), worker);
    }
  });
  if (dx && dx.beta == 0) experts.clearRest(dx);
}

}  // namespace moe::MOE_ISA
