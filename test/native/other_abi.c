/* An addon of another version: it loads and has another number. */
#include <node_api.h>

NAPI_MODULE_INIT() {
  napi_value number;
  napi_create_int32(env, 1, &number);
  napi_set_named_property(env, exports, "abi", number);
  return exports;
}
