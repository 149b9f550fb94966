// What the loss knows of a row of logits, for the ops that must agree with it bit for bit.
#pragma once
#include "cpu.h"

namespace moe::MOE_ISA {

/// ln sum exp(scale * logits), by the very sums of the losses: scale * logits[t] - logSumExp(..) is -nll of target t.
float logSumExp(const float* logits, int64_t size, float scale);

}  // namespace moe::MOE_ISA
