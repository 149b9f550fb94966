// The machine the addon runs on: instruction sets, the thread pool's size, backend libraries.
#pragma once
#include <string>
#include <vector>

#include "backend.h"

namespace moe::host {

/// The CPU backend compiled for `isa` ("portable", "avx2", "avx512", "avx512bf16"), or the best one this CPU runs when empty.
/// @throws Error("no-device") when the CPU lacks the instruction set or the name is unknown.
const Backend* cpuBackend(const std::string& isa);

/// Instruction sets compiled in that this CPU can run, worst first.
std::vector<std::string> cpuIsas();

/// Features of this CPU that kernels look at: avx2, fma, avx512f, avx512_bf16, amx_bf16, ...
std::vector<std::string> cpuFeatures();

/// True when a CPU backend multiplies two bf16 matrices faster than two of f32: by AMX or AVX-512 BF16.
bool multipliesBf16Fast(const Backend* backend);

/// True when the kernel gave this process leave to use AMX tiles (asked for once).
bool amxUsable();

/// Threads that kernels use: TRAIN_MOE_THREADS, else the cores this process may run on.
int threads();
void setThreads(int count);

/// Opens a backend library (its one export is `train_moe_backend`), once per process.
const Backend* libraryBackend(const std::string& path);

}  // namespace moe::host
