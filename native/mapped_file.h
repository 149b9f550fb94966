// Parts of files as memory, without a copy.
#pragma once
#include <napi.h>

namespace moe {

/// mapFile(path, offset, length) -> ArrayBuffer over the bytes of the file, which are read when they are touched. Writing to
/// it changes memory only, never the file. The file may be closed or replaced meanwhile, but must not be cut short: touching
/// bytes that are gone ends the process.
Napi::Value mapFile(const Napi::CallbackInfo& info);

}  // namespace moe
