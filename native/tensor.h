// What a kernel is handed: a typed, strided window on memory that somebody else owns.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace moe {

enum class DType : uint8_t { f32, bf16, i32, f64, u8 };
inline constexpr const char* kDTypeNames[] = {"f32", "bf16", "i32", "f64", "u8"};
inline constexpr int kDTypeBytes[] = {4, 2, 4, 8, 1};
inline const char* name(DType d) { return kDTypeNames[static_cast<int>(d)]; }
inline int bytes(DType d) { return kDTypeBytes[static_cast<int>(d)]; }

/// A failure with a stable code (the words of src/errors.ts) and one sentence.
struct Error : std::runtime_error {
  const char* code;
  Error(const char* code, const std::string& sentence) : std::runtime_error(sentence), code(code) {}
};

struct Buffer;  // the owner (memory.h); kernels use it only to keep packed copies of weights (pack.h)

inline constexpr int kMaxRank = 5;

/// Row-major window: element (i, j, ..) lies at data[i*stride[0] + j*stride[1] + ..]; the last stride is 1.
struct View {
  void* data = nullptr;
  Buffer* buffer = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};

  explicit operator bool() const { return data != nullptr; }
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
  }
  bool contiguous() const {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; i--) {
      if (shape[i] != 1 && stride[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
};

/// Read only.
struct In : View {
  template <class T> const T* as() const { return static_cast<const T*>(data); }
};
/// Written whole; what it held before does not matter.
struct Out : View {
  template <class T> T* as() const { return static_cast<T*>(data); }
};
/// Read and written.
struct Mut : View {
  template <class T> T* as() const { return static_cast<T*>(data); }
};
/// An accumulator: dst = beta*dst + value, beta 0 or 1. With beta 0 the old content may be NaN and must not be read.
/// Absent (operator bool is false) when nobody wants it.
struct Acc : View {
  float beta = 0;
  template <class T> T* as() const { return static_cast<T*>(data); }
};
struct MaybeIn : In {};
struct MaybeOut : Out {};

/// As many tensors or numbers as the caller has, for ops that take all parameters at once. Whoever calls owns the memory.
template <class T> struct List {
  const T* data = nullptr;
  int64_t count = 0;

  const T& operator[](int64_t i) const { return data[i]; }
  const T* begin() const { return data; }
  const T* end() const { return data + count; }
};

}  // namespace moe
