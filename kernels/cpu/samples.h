// Samples laid end to end: sample i has the tokens starts[i] to starts[i+1], and token t is row rows[t] of a tensor.
#pragma once
#include "cpu.h"

namespace moe::MOE_ISA {

/// @throws Error("bad-argument") unless the bounds rise from 0 to the number of tokens, and the rows rise within `count`
inline void checkSamples(const char* op, const In& rows, const In& starts, int64_t count) {
  const int64_t samples = starts.size() - 1, tokens = rows.size();
  const int32_t *bound = starts.as<int32_t>(), *row = rows.as<int32_t>();
  bool rise = samples >= 0 && bound[0] == 0 && bound[samples] == tokens;
  for (int64_t i = 0; i < samples; i++) rise &= bound[i] <= bound[i + 1];
  if (!rise) throw Error("bad-argument", std::string(op) + ": starts must rise from 0 to the number of tokens, " + std::to_string(tokens) + ".");
  for (int64_t t = 0; t < tokens; t++)
    if (row[t] >= count || row[t] <= (t ? row[t - 1] : -1))
      throw Error("bad-argument", std::string(op) + ": rows must rise and lie in 0 to " + std::to_string(count - 1) + ", but token " + std::to_string(t) + " has row " + std::to_string(row[t]) + ".");
}

}  // namespace moe::MOE_ISA
