#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

namespace moe {

namespace {

/// A mapping from the page on that holds its first byte; ends when JavaScript lets go of the buffer.
struct Mapping {
  void* base;
  size_t bytes;
  ~Mapping() { munmap(base, bytes); }
};

struct File {
  int descriptor;
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
};

std::string reason() { return std::strerror(errno); }

Napi::Value refused(Napi::Env env, const std::string& why) {
  Napi::Error::New(env, why).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace

Napi::Value mapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = info[0].ToString();
  const int64_t offset = info[1].ToNumber().Int64Value(), length = info[2].ToNumber().Int64Value();
  if (length == 0) return Napi::ArrayBuffer::New(env, 0);
  const File file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status;
  if (file.descriptor < 0 || fstat(file.descriptor, &status) != 0) return refused(env, reason());
  if (offset < 0 || length < 0 || offset > status.st_size || length > status.st_size - offset) return refused(env, "the file has become shorter");
  const int64_t page = sysconf(_SC_PAGESIZE), skipped = offset % page;
  const size_t bytes = static_cast<size_t>(length + skipped);
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.descriptor, offset - skipped);
  if (base == MAP_FAILED) return refused(env, reason());
  std::unique_ptr<Mapping> mapping(new Mapping{base, bytes});
  madvise(base, bytes, MADV_WILLNEED);
  napi_value buffer;
  const auto done = [](napi_env, void*, void* hint) { delete static_cast<Mapping*>(hint); };
  // From here on the mapping is the buffer's; a failed call leaves it ours.
  if (napi_create_external_arraybuffer(env, static_cast<char*>(base) + skipped, static_cast<size_t>(length), done, mapping.get(), &buffer) != napi_ok)
    return refused(env, "the JavaScript engine takes no memory of ours");
  mapping.release();
  return {env, buffer};
}

}  // namespace moe
