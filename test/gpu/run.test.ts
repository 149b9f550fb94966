import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../src/native.js';

const driver = existsSync('/proc/driver/nvidia/version');

it.skipIf(driver)('without a GPU the GPU tests say why in one line and end with status 3', () => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [join(packageRoot, 'test', 'gpu', 'run.mjs')], {
    encoding: 'utf8',
  });
  expect(stderr).toMatch(
    /^train-moe: the GPU tests cannot run: (train_moe_cuda\.so is not built; run|.*there is no NVIDIA driver).*\.\n$/,
  );
  expect(stdout).toBe('');
  expect(status).toBe(3);
});
