// A backend is one struct: where memory comes from, and one function per line of the table.
#pragma once
#include <cstddef>

#include "tensor.h"

namespace moe {

/// Raised whenever this struct or the table changes shape; a backend library of another number is refused by name.
inline constexpr int kAbi = 7;

struct Backend {
  int abi;
  const char* name;                                           ///< "cpu-avx2", "cuda", "emulator", ...
  void* (*allocate)(size_t bytes);                            ///< 64-byte aligned; nullptr when there is no room
  void (*release)(void* data, size_t bytes);
  void (*copy_in)(void* to, const void* from, size_t bytes);  ///< host to backend; `from` may change once it returns
  void (*copy_out)(void* to, const void* from, size_t bytes); ///< backend to host, waits
  void (*synchronize)();
  bool fresh;  ///< each allocation is to be a new one, of the very size: the emulator looks for reads before writes, and beyond ends

  // What follows may be null, all of a group together.

  size_t (*capacity)();  ///< bytes of memory the device has; null: the host's own memory
  void (*close)();       ///< this thread needs the backend no more
  /// Ops of this thread that lack memory of their own call give_back(owner), which frees what is kept for reuse, and try again.
  void (*on_shortage)(void (*give_back)(void* owner), void* owner);

  void (*begin_timer)();   ///< from here, on the device's own clock ...
  double (*end_timer)();   ///< ... to here, in seconds; waits. Null: the host's clock is as good

  // A copy to the host that does not wait: begin returns a ticket, end waits for that copy alone and takes the bytes.
  void* (*begin_copy_out)(const void* from, size_t bytes);
  void (*end_copy_out)(void* ticket, void* to, size_t bytes);  ///< `to` null: not wanted any more

  // Work recorded once and launched as a whole. Between begin (false: not now) and end, ops of this thread are recorded
  // and not run; they may neither allocate nor wait. End returns null when what was recorded cannot be launched.
  bool (*begin_capture)();
  void* (*end_capture)();
  void (*launch_graph)(void* graph);
  void (*destroy_graph)(void* graph);

#define OP(name, params, contract) void(*name) params;
#include "ops.def"
#undef OP
};

}  // namespace moe
