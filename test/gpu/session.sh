#!/usr/bin/env bash
# All that a GPU machine is asked, in one go: build for its GPU, tests, sanitizers, benchmark. Everything lands in the folder given;
# summary.txt has a line a step. A step that fails does not stop the next; the status is 0 when none failed.
#
#   bash test/gpu/session.sh RESULTS               on a GPU machine, from the project's root
#   bash test/gpu/session.sh RESULTS --emulator    rehearses it without one
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:?give a folder for the results}
mode=${2:-}
mkdir -p "$out" && out=$(cd "$out" && pwd)
: > "$out/summary.txt"
failed=0

# step NAME COMMAND...: its output goes to NAME.log.
step() {
  local name=$1 start=$SECONDS status=0
  shift
  "$@" > "$out/$name.log" 2>&1 < /dev/null || status=$?
  [ "$status" -eq 0 ] || failed=1
  echo "$name: $([ "$status" -eq 0 ] && echo ok || echo "FAILED ($status)"), $((SECONDS - start)) s" | tee -a "$out/summary.txt"
  return "$status"
}

bench() { node dist/cli/index.js bench --json "$@" > "$out/bench.jsonl"; }

if [ "$mode" = --emulator ]; then
  step build-ts npm run -s build:ts
  [ -e build/Release/train_moe_emulator.so ] || step build node native/build.mjs --emulator
  step tests npm run -s test:gpu -- --emulator --out "$out"
  step bench bench --device emulator --smoke --job '^(copy|gemm|attention|mla_decode|moe|linear_cross_entropy|adamw|rmsnorm|rope|router|train_step)$'
else
  step gpu nvidia-smi
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
  case "$capability" in 90 | 100) architecture=${capability}a-real ;; *) architecture=${capability:-80}-real ;; esac
  step build-ts npm run -s build:ts
  step build node native/build.mjs --cuda "-DTRAIN_MOE_CUDA_ARCHS=$architecture"
  step doctor node dist/cli/index.js doctor
  step tests npm run -s test:gpu -- --only tests --out "$out"
  step bench bench --device cuda
  step sanitizers npm run -s test:gpu -- --only sanitizer --out "$out"
fi
exit "$failed"
