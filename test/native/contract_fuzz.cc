// Holds the contract parser and its checks to the whole table and to much that is not in it. Built with the address and
// undefined-behaviour sanitizers by sanitized.test.ts, which stop the program at the first fault.
//
// Every line of ops.def is parsed; its checks are given views of drawn ranks, shapes, strides and dtypes, which they must
// take or refuse with an Error, never anything else. Then every line is broken in one place, at every place: the parser must
// take it or throw.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "../../native/contract.h"

using namespace moe;

namespace {

struct Line {
  const char *op, *parameters, *contract;
};

const Line kTable[] = {
#define OP(name, parameters, contract) {#name, #parameters, contract},
#include "../../native/ops.def"
#undef OP
};

uint64_t state = 1;
int64_t draw(int64_t below) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<int64_t>(state >> 33) % below;
}

/// The most elements of a tensor, and the widest stride: what native/binding/tensors.cc lets through.
constexpr int64_t kMost = int64_t{1} << 50;

/// Zero, one, small, and now and then as large as may be.
int64_t drawSize(int64_t most) { return draw(8) ? std::min(draw(5), most) : draw(2) ? most : most / 2; }

View drawView() {
  static float element;
  View v;
  if (!draw(10)) return v;
  v.data = &element;
  v.dtype = static_cast<DType>(draw(5));
  v.rank = static_cast<int>(draw(kMaxRank + 1));
  int64_t most = kMost;
  for (int i = v.rank - 1; i >= 0; i--) {
    v.shape[i] = drawSize(most);
    most /= std::max<int64_t>(v.shape[i], 1);
    v.stride[i] = draw(3) ? (i == v.rank - 1 ? 1 : draw(40)) : drawSize(kMost);
  }
  return v;
}

/// A tensor that fits its rule if every symbol is 2, with dims folded out of the first now and then.
View fitting(const TensorRule& rule) {
  View v = drawView();
  static float element;
  v.data = &element;
  v.rank = static_cast<int>(rule.dims.size());
  if (rule.dtype.empty() || rule.dtype == "f" || rule.dtype == "any") v.dtype = DType::f32;
  else for (int d = 0; d < 5; d++) if (rule.dtype == kDTypeNames[d]) v.dtype = static_cast<DType>(d);
  const auto value = [](const TensorRule::Term& t) { return t.symbol < 0 ? t.number : 2; };
  int64_t stride = 1;
  for (int i = v.rank - 1; i >= 0; i--) {
    const TensorRule::Dim& dim = rule.dims[i];
    const int64_t a = value(dim.left), b = dim.op ? value(dim.right) : 0;
    v.shape[i] = dim.op == '*' ? a * b : dim.op == '+' ? a + b : dim.op == '-' ? a - b : dim.op == '/' ? a / b : a;
    v.stride[i] = stride;
    stride *= v.shape[i];
  }
  return v;
}

long taken = 0, refused = 0, rejected = 0;

/// True when the call was taken.
bool held(const Contract& contract, std::vector<View>& views) {
  std::vector<View*> pointers;
  for (View& view : views) pointers.push_back(&view);
  (void)contract.describe(pointers.data());
  try {
    contract.check(pointers.data());
    return taken++, true;
  } catch (const Error&) {
    return refused++, false;
  }
}

}  // namespace

int main() {
  for (const Line& line : kTable) {
    const Contract contract(line.op, line.parameters, line.contract);
    for (int round = 0; round < 400; round++) {
      std::vector<View> views;
      for (const TensorRule& rule : contract.tensors) views.push_back(fitting(rule));
      if (round == 0 && !held(contract, views)) return printf("%s refuses a call that fits it\n", line.op), 1;
      if (round > 0 && !views.empty()) {
        for (int64_t broken = 1 + draw(2); broken > 0; broken--) views[draw(static_cast<int64_t>(views.size()))] = drawView();
        held(contract, views);
      }
    }
    const std::string whole = line.contract;
    for (size_t at = 0; at < whole.size(); at++)
      for (const char* put : {"", "[", "]", "?", "~", ":", " ", ",", "*", "0", "Z"}) {
        std::string bent = whole;
        bent.replace(at, 1, put);
        try {
          Contract(line.op, line.parameters, bent.c_str());
        } catch (const std::logic_error&) {
          rejected++;
        }
      }
  }
  printf("%ld taken, %ld refused, %ld lines rejected\n", taken, refused, rejected);
  return 0;
}
