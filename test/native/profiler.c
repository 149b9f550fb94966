/* Stands in for a profiler: the library that NVTX_INJECTION64_PATH names. It asks for the module "core" as a real one does, puts
 * itself where ranges begin and end, and prints them. */
#include <stdint.h>
#include <stdio.h>

typedef void (*Function)(void);
struct Callbacks {
  size_t size;
  int (*module)(int module, Function*** table, unsigned* count);
};

static int depth = 0;

static int push(const char* name) {
  fprintf(stderr, "%*s%s\n", 2 * depth, "", name);
  return depth++;
}
static int pop(void) { return --depth; }

int InitializeInjectionNvtx2(const void* (*exportTable)(uint32_t)) {
  Function** table;
  unsigned count;
  const struct Callbacks* callbacks = exportTable(1);
  if (!callbacks || callbacks->size < sizeof *callbacks || !callbacks->module(1, &table, &count) || count < 12) return 0;
  *table[9] = (Function)push;
  *table[11] = (Function)pop;
  return 1;
}
