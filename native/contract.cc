#include "contract.h"

#include <cctype>
#include <cstdlib>

namespace moe {

namespace {

std::string trimmed(const std::string& s) {
  size_t a = 0, b = s.size();
  while (a < b && isspace(static_cast<unsigned char>(s[a]))) a++;
  while (b > a && isspace(static_cast<unsigned char>(s[b - 1]))) b--;
  return s.substr(a, b - a);
}

std::string shapeText(const View& v) {
  std::string text = "[";
  for (int i = 0; i < v.rank; i++) text += (i ? "," : "") + std::to_string(v.shape[i]);
  return text + "]";
}

/// What stands in List<...>, or the type itself.
std::string elementOf(const std::string& type) { return type.rfind("List<", 0) == 0 ? type.substr(5, type.size() - 6) : type; }

Use useOf(const std::string& type) {
  if (type == "In") return Use::in;
  if (type == "Out") return Use::out;
  if (type == "Mut") return Use::mut;
  if (type == "Acc") return Use::acc;
  if (type == "MaybeIn") return Use::maybeIn;
  if (type == "MaybeOut") return Use::maybeOut;
  return Use::scalar;
}

std::vector<Parameter> parseParameters(const std::string& list) {
  std::vector<Parameter> out;
  const std::string inner = list.substr(1, list.size() - 2);  // without the parentheses
  size_t at = 0;
  while (at < inner.size()) {
    size_t comma = inner.find(',', at);
    if (comma == std::string::npos) comma = inner.size();
    const std::string item = trimmed(inner.substr(at, comma - at));
    const size_t space = item.rfind(' ');
    const std::string type = trimmed(item.substr(0, space));
    out.push_back({item.substr(space + 1), type, useOf(elementOf(type)), elementOf(type) != type});
    at = comma + 1;
  }
  return out;
}

TensorRule::Term parseTerm(const std::string& text, std::vector<std::string>& symbols) {
  TensorRule::Term term;
  term.text = text;
  if (isdigit(static_cast<unsigned char>(text[0]))) {
    term.number = std::atoll(text.c_str());
    return term;
  }
  for (size_t i = 0; i < symbols.size(); i++)
    if (symbols[i] == text) term.symbol = static_cast<int>(i);
  if (term.symbol < 0) {
    term.symbol = static_cast<int>(symbols.size());
    symbols.push_back(text);
  }
  return term;
}

TensorRule::Dim parseDim(const std::string& text, std::vector<std::string>& symbols) {
  TensorRule::Dim dim;
  const size_t op = text.find_first_of("*+-/");
  dim.left = parseTerm(text.substr(0, op), symbols);
  if (op != std::string::npos) {
    dim.op = text[op];
    dim.right = parseTerm(text.substr(op + 1), symbols);
  }
  return dim;
}

TensorRule parseTensor(std::string text, std::vector<std::string>& symbols) {
  TensorRule rule;
  if (text.back() == '*') { rule.list = true; text.pop_back(); }
  if (text.back() == '?') { rule.optional = true; text.pop_back(); }
  if (text.back() == '~') { rule.strided = true; text.pop_back(); }
  const size_t open = text.find('['), close = text.find(']');
  if (open == std::string::npos || close == std::string::npos) throw std::logic_error("contract: no dims in " + text);
  rule.name = text.substr(0, open);
  size_t at = open + 1;
  while (at < close) {
    size_t comma = text.find(',', at);
    if (comma == std::string::npos || comma > close) comma = close;
    rule.dims.push_back(parseDim(text.substr(at, comma - at), symbols));
    at = comma + 1;
  }
  if (close + 1 < text.size()) {
    rule.dtype = text.substr(close + 2);
    static const char* known[] = {"f32", "bf16", "i32", "f64", "u8", "f", "any"};
    bool found = false;
    for (const char* k : known) found |= rule.dtype == k;
    if (!found) throw std::logic_error("contract: unknown dtype in " + text);
  }
  return rule;
}

/// What a symbol stands for in this call, and which tensor said so first.
struct Meaning {
  int64_t value = 0;
  const TensorRule* rule = nullptr;
  const View* view = nullptr;
};

/// a * b, or what no size equals when that does not fit.
int64_t product(int64_t a, int64_t b) {
  int64_t value;
  return __builtin_mul_overflow(a, b, &value) ? INT64_MAX : value;
}

bool valueOf(const TensorRule::Term& term, const Meaning* symbols, int64_t& value) {
  value = term.symbol < 0 ? term.number : symbols[term.symbol].value;
  return term.symbol < 0 || symbols[term.symbol].rule;
}

bool valueOf(const TensorRule::Dim& dim, const Meaning* symbols, int64_t& value) {
  if (!valueOf(dim.left, symbols, value)) return false;
  if (!dim.op) return true;
  int64_t right;
  if (!valueOf(dim.right, symbols, right)) return false;
  switch (dim.op) {
    case '*': value = product(value, right); break;
    case '+': value += right; break;
    case '-': value -= right; break;
    case '/': value = right ? value / right : 0; break;
  }
  return true;
}

std::string dimText(const TensorRule::Dim& d) { return d.op ? d.left.text + d.op + d.right.text : d.left.text; }

/// Folds leading dims into the first one, so that a [B,T,C] tensor fits [R,C]; a vector [C] fits as one row.
void fold(const std::string& op, const TensorRule& rule, View& v) {
  const int rank = static_cast<int>(rule.dims.size());
  const View given = v;
  const auto wrong = [&](const char* why) -> Error {
    return Error("bad-argument", op + ": " + rule.name + " is " + shapeText(given) + ", but " + why + " " +
                                     std::to_string(rank) + " dimensions are expected.");
  };
  if (v.rank == 1 && rank == 2) {  // a vector is one row
    v.shape[1] = v.shape[0];
    v.stride[1] = v.stride[0];
    v.shape[0] = 1;
    v.stride[0] = v.shape[1];
    v.rank = 2;
  }
  if (v.rank < rank) throw wrong("at least");
  const int extra = v.rank - rank;
  for (int i = 0; i < extra; i++) {
    if (v.shape[0] != 1 && v.shape[1] != 1 && v.stride[0] != product(v.stride[1], v.shape[1]))
      throw wrong("its leading dimensions do not fold:");
    if (v.shape[1] == 1) v.stride[1] = v.stride[0];
    v.shape[1] *= v.shape[0];
    for (int j = 0; j + 1 < v.rank; j++) { v.shape[j] = v.shape[j + 1]; v.stride[j] = v.stride[j + 1]; }
    v.rank--;
  }
}

void checkDType(const Contract& c, const TensorRule& rule, const View& v, const TensorRule*& ownRule, DType& own) {
  const auto fail = [&](const std::string& expected) {
    throw Error("bad-argument", c.op + ": " + rule.name + " is " + name(v.dtype) + ", but " + expected + ".");
  };
  if (rule.dtype == "any") return;
  if (rule.dtype.empty() || rule.dtype == "f") {
    if (v.dtype != DType::f32 && v.dtype != DType::bf16) fail("f32 or bf16 is expected");
    if (rule.dtype == "f") return;
    if (!ownRule) { ownRule = &rule; own = v.dtype; }
    if (v.dtype != own) fail(ownRule->name + " is " + name(own) + " and both must be the same");
    return;
  }
  if (rule.dtype != name(v.dtype)) fail(rule.dtype + " is expected");
}

void checkStrides(const Contract& c, const TensorRule& rule, const View& v) {
  if (v.size() == 0) return;
  if (rule.strided ? (v.shape[v.rank - 1] != 1 && v.stride[v.rank - 1] != 1) : !v.contiguous())
    throw Error("bad-argument", c.op + ": " + rule.name + " " + shapeText(v) + " must " +
                                    (rule.strided ? "have a dense last dimension" : "be contiguous") + "; copy it first.");
}

}  // namespace

Contract::Contract(const char* opName, const char* parameterList, const char* text)
    : op(opName), parameters(parseParameters(parameterList)) {
  const std::string all = text;
  size_t at = 0;
  while (at < all.size()) {
    size_t space = all.find(' ', at);
    if (space == std::string::npos) space = all.size();
    if (space > at) tensors.push_back(parseTensor(all.substr(at, space - at), symbols));
    at = space + 1;
  }
  size_t next = 0;
  for (const Parameter& p : parameters) {
    if (p.use == Use::scalar) continue;
    if (next >= tensors.size() || tensors[next].name != p.name)
      throw std::logic_error("contract of " + op + ": parameter " + p.name + " has no rule in its place");
    TensorRule& rule = tensors[next++];
    const bool maybe = p.use == Use::maybeIn || p.use == Use::maybeOut;
    if (rule.optional != maybe) throw std::logic_error("contract of " + op + ": '?' of " + p.name + " does not match its type");
    if (rule.list != p.list) throw std::logic_error("contract of " + op + ": '*' of " + p.name + " does not match its type");
    if (p.use == Use::acc) rule.optional = true;
  }
  if (symbols.size() > kMaxSymbols) throw std::logic_error("contract of " + op + ": more than 16 symbols");
  if (next != tensors.size()) throw std::logic_error("contract of " + op + ": a rule has no parameter");
}

void Contract::check(View* const* views) const {
  Meaning meanings[kMaxSymbols];
  const TensorRule* ownRule = nullptr;
  DType own = DType::f32;
  for (size_t i = 0; i < tensors.size(); i++) {
    const TensorRule& rule = tensors[i];
    View& v = *views[i];
    if (!v.data) {
      if (rule.optional) continue;
      throw Error("bad-argument", op + ": " + rule.name + " is missing, or it was released already; keep() a tensor or use it inside its scope.");
    }
    fold(op, rule, v);
    checkDType(*this, rule, v, ownRule, own);
    checkStrides(*this, rule, v);
    for (int d = 0; d < v.rank; d++) {
      const TensorRule::Dim& dim = rule.dims[d];
      if (!dim.op && dim.left.symbol >= 0 && !meanings[dim.left.symbol].rule) meanings[dim.left.symbol] = {v.shape[d], &rule, &v};
    }
  }
  for (size_t i = 0; i < tensors.size(); i++) {
    const TensorRule& rule = tensors[i];
    const View& v = *views[i];
    if (!v.data) continue;
    for (int d = 0; d < v.rank; d++) {
      int64_t expected;
      if (!valueOf(rule.dims[d], meanings, expected) || v.shape[d] == expected) continue;
      const int symbol = rule.dims[d].left.symbol;
      std::string sentence = op + ": " + rule.name + " is " + shapeText(v) + ", but " + dimText(rule.dims[d]) + " is " + std::to_string(expected);
      if (symbol >= 0) sentence += " from " + meanings[symbol].rule->name + shapeText(*meanings[symbol].view);
      throw Error("bad-argument", sentence + ".");
    }
  }
}

std::string Contract::describe(View* const* views) const {
  std::string text = op + "(";
  bool first = true;
  for (size_t i = 0; i < tensors.size(); i++) {
    if (!*views[i]) continue;
    text += (first ? "" : ", ") + tensors[i].name + shapeText(*views[i]) + ":" + moe::name(views[i]->dtype);
    first = false;
  }
  return text + ")";
}

}  // namespace moe
