#include "host.h"

#include <cpuid.h>
#include <dlfcn.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "../kernels/cpu/parallel.h"

namespace moe {

extern const Backend cpu_portable_backend;
#ifdef MOE_HAS_AVX2
extern const Backend cpu_avx2_backend;
#endif
#ifdef MOE_HAS_AVX512
extern const Backend cpu_avx512_backend;
#endif
#ifdef MOE_HAS_AVX512BF16
extern const Backend cpu_avx512bf16_backend;
#endif

namespace host {

namespace {

bool cpuid7(int subleaf, unsigned& eax, unsigned& edx) {
  unsigned ebx, ecx;
  return __get_cpuid_count(7, subleaf, &eax, &ebx, &ecx, &edx) != 0;
}

bool amxInSilicon() {
  unsigned eax, edx;
  return cpuid7(0, eax, edx) && (edx >> 24 & 1) && (edx >> 22 & 1);  // AMX-TILE and AMX-BF16
}

bool avx512Usable() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool avx512Bf16InSilicon() {
  unsigned eax, edx;
  return cpuid7(1, eax, edx) && (eax >> 5 & 1);
}

struct Isa {
  const char* name;
  const Backend* backend;
  bool usable;
  bool fastBf16;
};

std::vector<Isa> isas() {
  std::vector<Isa> list{{"portable", &cpu_portable_backend, true, false}};
#ifdef MOE_HAS_AVX2
  list.push_back({"avx2", &cpu_avx2_backend, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), false});
#endif
#ifdef MOE_HAS_AVX512
  list.push_back({"avx512", &cpu_avx512_backend, avx512Usable(), amxUsable()});
#endif
#ifdef MOE_HAS_AVX512BF16
  list.push_back({"avx512bf16", &cpu_avx512bf16_backend, avx512Usable() && avx512Bf16InSilicon(), true});
#endif
  return list;
}

}  // namespace

bool amxUsable() {
  static const bool usable = [] {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    return amxInSilicon() && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return usable;
}

std::vector<std::string> cpuFeatures() {
  std::vector<std::string> out;
  const auto add = [&](bool has, const char* name) {
    if (has) out.emplace_back(name);
  };
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(avx512Bf16InSilicon(), "avx512_bf16");
  add(amxInSilicon(), "amx_bf16");
  return out;
}

std::vector<std::string> cpuIsas() {
  std::vector<std::string> out;
  for (const Isa& isa : isas())
    if (isa.usable) out.emplace_back(isa.name);
  return out;
}

const Backend* cpuBackend(const std::string& name) {
  const Backend* best = nullptr;
  std::string known;
  for (const Isa& isa : isas()) {
    known += (known.empty() ? "" : ", ") + std::string(isa.name);
    if (!name.empty() && name == isa.name) {
      if (!isa.usable) throw Error("no-device", "this CPU does not have the instruction set " + name + "; leave TRAIN_MOE_ISA unset to use the best one it has.");
      return isa.backend;
    }
    if (isa.usable) best = isa.backend;
  }
  if (!name.empty()) throw Error("bad-argument", "TRAIN_MOE_ISA is " + name + "; this build knows " + known + ".");
  return best;
}

bool multipliesBf16Fast(const Backend* backend) {
  for (const Isa& isa : isas())
    if (isa.backend == backend) return isa.fastBf16;
  return false;
}

int threads() { return parallel::threads(); }

void setThreads(int count) {
  if (count < 1 || count > parallel::kMaxThreads)
    throw Error("bad-argument", std::to_string(count) + " threads were asked for; give 1 to " + std::to_string(parallel::kMaxThreads) + ".");
  parallel::setThreads(count);
}

const Backend* libraryBackend(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, const Backend*> open;
  const std::lock_guard lock(mutex);
  if (const auto found = open.find(path); found != open.end()) return found->second;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error("no-device", "the backend library does not load: " + std::string(dlerror()) + ".");
  // Returns the backend, or nullptr after writing one sentence that says why the device cannot be used.
  using Entry = const Backend* (*)(char* why, size_t size);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "train_moe_backend"));
  char why[512] = "it has no function train_moe_backend";
  const Backend* backend = entry ? entry(why, sizeof why) : nullptr;
  if (!backend) {
    dlclose(library);
    throw Error("no-device", path + " is not usable: " + why + ".");
  }
  return open[path] = backend;
}

}  // namespace host
}  // namespace moe
