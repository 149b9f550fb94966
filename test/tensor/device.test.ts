import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/native.js';
import { chooseDevice, device, deviceClock } from '../../src/tensor/index.js';

const driver = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg'].some(existsSync);
const compiled = join(packageRoot, 'dist', 'cli', 'index.js');

describe.skipIf(driver)('without an NVIDIA driver', () => {
  it('auto takes the CPU and says why in one line', () => {
    expect(chooseDevice('auto')).toEqual({
      device: device('cpu'),
      reason: 'CUDA not used: this machine has no NVIDIA driver.',
    });
  });

  it('cuda fails hard', () => {
    expect(() => chooseDevice('cuda')).toThrow(/cuda is not available|there is no NVIDIA driver/);
  });

  it.skipIf(!existsSync(compiled))('the command ends with status 3', () => {
    const words = [compiled, 'bench', '--device', 'cuda', '--job', 'copy', '--smoke'];
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    expect(stderr).toMatch(/^train-moe: .*(cuda is not available|there is no NVIDIA driver).*\n$/);
    expect(status).toBe(3);
  });
});

it('a device that is no device is named', () => {
  expect(() => chooseDevice('tpu')).toThrow('The device "tpu" is unknown; use auto, cpu, cuda or emulator.');
});

it.each(['cuda', 'emulator'])('the script that is named where the library of %s is missing can be run', (kind) => {
  const { scripts } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
  expect(scripts[`build:${kind}`]).toBe(`node native/build.mjs --${kind}`);
});

it('the CPU has no clock of its own', () => {
  expect(deviceClock(device('cpu'))).toBeUndefined();
});
