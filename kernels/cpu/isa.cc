#include "isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sas {
namespace {

bool HasAvx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool HasAvx512() {
#if defined(__x86_64__)
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

// Leaf 7, subleaf 1, bit 5 of EAX; not every compiler has a name for it.
bool HasAvx512Bf16() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return HasAvx512() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 5 & 1) != 0;
#else
  return false;
#endif
}

const IsaKernels* Find(Isa isa) {
  const IsaKernels* avx512 = HasAvx512() ? Avx512Kernels() : nullptr;
  const IsaKernels* avx2 = HasAvx2() ? Avx2Kernels() : nullptr;
  switch (isa) {
    case Isa::kAvx512:
      return avx512;
    case Isa::kAvx2:
      return avx2;
    case Isa::kGeneric:
      return GenericKernels();
    case Isa::kAuto:
      return avx512 != nullptr ? avx512 : avx2 != nullptr ? avx2 : GenericKernels();
  }
  return nullptr;
}

// SAS_JAX_ISA (generic, avx2, avx512) asks for an instruction set; one that is absent is ignored.
const IsaKernels* FromEnvironment() {
  const char* wish = std::getenv("SAS_JAX_ISA");
  Isa isa = Isa::kAuto;
  if (wish != nullptr && std::strcmp(wish, "generic") == 0) isa = Isa::kGeneric;
  if (wish != nullptr && std::strcmp(wish, "avx2") == 0) isa = Isa::kAvx2;
  if (wish != nullptr && std::strcmp(wish, "avx512") == 0) isa = Isa::kAvx512;
  const IsaKernels* kernels = Find(isa);
  return kernels != nullptr ? kernels : Find(Isa::kAuto);
}

std::atomic<const IsaKernels*>& Active() {
  static std::atomic<const IsaKernels*> active{FromEnvironment()};
  return active;
}

}  // namespace

const IsaKernels& ActiveKernels() { return *Active().load(std::memory_order_acquire); }

const Bf16Products* Bf16ProductsOf(const IsaKernels& kernels) {
  static const Bf16Products* const products = HasAvx512Bf16() ? Avx512Bf16Products() : nullptr;
  return &kernels == Avx512Kernels() ? products : nullptr;
}

bool SetIsa(Isa isa) {
  const IsaKernels* kernels = Find(isa);
  if (kernels == nullptr) return false;
  Active().store(kernels, std::memory_order_release);
  return true;
}

}  // namespace sas
