// Reads a line's shape contract and holds every call to it.
//
//   contract := tensor (' ' tensor)*            tensor := name '[' dim (',' dim)* ']' (':' dtype)? '~'? '?'? '*'?
//   dim      := term | term op term             term := symbol | number      op := '*' | '+' | '-' | '/'
//   dtype    := f32 | bf16 | i32 | f64 | u8 | f (f32 or bf16) | any;  none: the op's own float type
//   '*'      := a List: the rule holds for each of its tensors. All lists of a call are of one length, and what stands at one
//               place of them is a call of its own to the rules, so symbols may mean something else at the next place.
#pragma once
#include <string>
#include <vector>

#include "tensor.h"

namespace moe {

/// One tensor of a contract.
struct TensorRule {
  struct Term {
    std::string text;     // as written
    int symbol = -1;      // index into the contract's symbols, or -1 for a number
    int64_t number = 0;
  };
  struct Dim {
    Term left, right;     // right is unused when op is 0
    char op = 0;
  };
  std::string name, dtype;
  std::vector<Dim> dims;
  bool strided = false, optional = false, list = false;
};

/// How a parameter is used; decides whether it may be absent and whether a call raises its buffer's version.
enum class Use { in, out, mut, acc, maybeIn, maybeOut, scalar };

struct Parameter {
  std::string name, type;  // as written in the table
  Use use;
  bool list;
};

/// A line of the table, parsed once at load.
struct Contract {
  std::string op;
  std::vector<Parameter> parameters;  // all, in order
  std::vector<TensorRule> tensors;    // those of the contract, in order; matches the tensor parameters
  std::vector<std::string> symbols;   // distinct symbols, in order of appearance (at most kMaxSymbols)
  static constexpr int kMaxSymbols = 16;

  /// Throws std::logic_error when the line itself is wrong: names differ, unknown dtype, ...
  Contract(const char* op, const char* parameters, const char* contract);

  /// Folds and checks the views of one call, in the order of `tensors` (an absent one has no data).
  /// @throws Error("bad-argument") with a sentence that names both sizes, e.g.
  ///   "rmsnorm_forward: weight is [8], but C is 72 from x[6,72]."
  void check(View* const* views) const;

  /// The call as one reads it: "add(y[2,4]:f32, a[2,4]:f32, b[2,4]:f32)".
  std::string describe(View* const* views) const;
};

}  // namespace moe
