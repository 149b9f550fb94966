import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Binary, Facts } from '../../src/cli/doctor/facts.js';
import { gatherFacts } from '../../src/cli/doctor/gather.js';
import {
  compareVersions,
  cpuOf,
  driverVersion,
  gpusOf,
  memoryLimit,
  osName,
  packageManagerOf,
} from '../../src/cli/doctor/parse.js';
import { probe, readProbe } from '../../src/cli/doctor/probe.js';
import { reportRows } from '../../src/cli/doctor/report.js';
import { requirements } from '../../src/cli/doctor/requirements.js';
import { verdictOf } from '../../src/cli/doctor/verdict.js';
import { packageRoot } from '../../src/cli/package.js';

const addon: Binary = {
  path: '/app/build/Release/train_moe.node',
  kind: 'addon',
  bytes: 3_000_000,
  load: { state: 'works', abi: requirements.abi, backend: 'cpu-avx2', isas: ['portable', 'avx2'] },
};
const cuda: Binary = {
  path: '/app/prebuilds/linux-x64/train_moe_cuda.so',
  kind: 'cuda',
  bytes: 9_000_000,
  load: { state: 'works', abi: requirements.abi, backend: 'cuda' },
};
const gpu = {
  driver: '580.65.06',
  libcuda: '/usr/lib/x86_64-linux-gnu/libcuda.so.1',
  devices: [{ name: 'NVIDIA H200', capability: '9.0', memory: 141 * 2 ** 30 }],
};

/** A Linux machine with a working addon and no GPU, with some facts changed. */
function machine(changes: { [K in keyof Facts]?: Partial<Facts[K]> } = {}): Facts {
  return {
    system: {
      platform: 'linux',
      arch: 'x64',
      name: 'Debian GNU/Linux 12',
      kernel: '6.1.0',
      glibc: '2.36',
      cpu: 'A CPU',
      features: ['avx2', 'fma'],
      cores: 2,
      memory: 2 ** 35,
      available: 2 ** 34,
      ...changes.system,
    },
    node: { version: '20.19.0', napi: 9, ...changes.node },
    install: { root: '/app', version: '0.1.0', ...changes.install },
    binaries: (changes.binaries as readonly Binary[] | undefined) ?? [addon],
    gpu: { devices: [], listError: 'nvidia-smi is not installed', ...changes.gpu },
  };
}

describe('the verdict', () => {
  it.each<[string, Parameters<typeof machine>[0], 'cpu' | 'cuda' | 'none', string]>([
    ['a plain machine', {}, 'cpu', 'Ready: trains on the CPU (avx2, 2 cores). CUDA not used: no NVIDIA driver found.'],
    ['a GPU machine', { binaries: [addon, cuda], gpu }, 'cuda', 'Ready: trains on NVIDIA H200.'],
    [
      'an old driver',
      { binaries: [addon, cuda], gpu: { ...gpu, driver: '525.60.13' } },
      'cpu',
      'CUDA not used: driver 525.60.13 is too old: CUDA 13.0 needs driver 580 or newer.',
    ],
    [
      'an old GPU',
      { binaries: [addon, cuda], gpu: { ...gpu, devices: [{ name: 'Tesla T4', capability: '7.5', memory: 1 }] } },
      'cpu',
      'CUDA not used: GPU "Tesla T4" is sm_75; this build has sm_80 and newer.',
    ],
    [
      'an old GPU beside a new one',
      {
        binaries: [addon, cuda],
        gpu: { ...gpu, devices: [{ name: 'Tesla T4', capability: '7.5', memory: 1 }, ...gpu.devices] },
      },
      'cuda',
      'Ready: trains on Tesla T4, NVIDIA H200.',
    ],
    [
      'a driver without its library',
      { binaries: [addon, cuda], gpu: { ...gpu, libcuda: undefined } },
      'cpu',
      'driver 580.65.06 is loaded, but its library libcuda.so.1 was not found',
    ],
    ['no CUDA library', { gpu }, 'cpu', 'train_moe_cuda.so is not installed; build it: npm run build:cuda.'],
    [
      'a CUDA library that refuses',
      { binaries: [addon, { ...cuda, load: { state: 'refused', reason: 'no GPU is visible.' } }], gpu },
      'cpu',
      'CUDA not used: /app/prebuilds/linux-x64/train_moe_cuda.so does not load: no GPU is visible.',
    ],
    [
      'a CUDA library that hangs',
      { binaries: [addon, { ...cuda, load: { state: 'hung', seconds: 60 } }], gpu },
      'cpu',
      'did not answer within 60 s.',
    ],
    [
      'musl',
      { system: { glibc: undefined }, binaries: [] },
      'none',
      'Not ready: Alpine/musl has no prebuilt binary; build from source with cmake, make and g++ 12: npm rebuild train-moe.',
    ],
    [
      'another architecture',
      { system: { arch: 'arm64' }, binaries: [] },
      'none',
      'no prebuilt binary for linux-arm64 (there is one for linux-x64); build from source',
    ],
    [
      'another system',
      { system: { platform: 'darwin', glibc: undefined }, binaries: [] },
      'none',
      'no prebuilt binary for darwin-x64 (there is one for linux-x64)',
    ],
    [
      'an old glibc without a binary',
      { system: { glibc: '2.31' }, binaries: [] },
      'none',
      `the prebuilt binary needs glibc ${requirements.glibc} or newer, found 2.31`,
    ],
    [
      'an old glibc with a prebuilt binary',
      {
        system: { glibc: '2.31' },
        binaries: [{ ...addon, load: { state: 'refused', reason: "libc.so.6: version `GLIBC_2.36' not found" } }],
      },
      'none',
      `the prebuilt binary needs glibc ${requirements.glibc} or newer, found 2.31`,
    ],
    [
      'no binary at all',
      { binaries: [] },
      'none',
      'no binary is installed, neither built (build/Release) nor prebuilt (prebuilds/linux-x64)',
    ],
    [
      'a bundle',
      { install: { version: undefined } },
      'none',
      'Not ready: train-moe must stay external: /app is not its package folder',
    ],
    [
      'an old Node',
      { node: { version: '18.20.0' } },
      'none',
      'Node 18.20.0 is too old; train-moe needs 20.19.0 or newer.',
    ],
    [
      'a stale binary',
      { binaries: [{ ...addon, load: { state: 'works', abi: 0, backend: 'cpu-avx2' } }] },
      'none',
      `is of another version (ABI 0, this package needs ${requirements.abi}). Rebuild it: npm rebuild train-moe.`,
    ],
    [
      'a binary for another CPU',
      { binaries: [{ ...addon, load: { state: 'crashed', signal: 'SIGILL' } }] },
      'none',
      'ends its process with SIGILL (an instruction this CPU lacks).',
    ],
    [
      'a broken first binary, which hides a working second one',
      { binaries: [{ ...addon, load: { state: 'refused', reason: 'file too short' } }, addon] },
      'none',
      'does not load: file too short. Rebuild it',
    ],
  ])('on %s', (_, changes, device, sentence) => {
    const verdict = verdictOf(machine(changes));
    expect(verdict.line).toContain(sentence);
    expect(verdict.device).toBe(device);
    expect(verdict.line).not.toMatch(/undefined|\n|\.\./);
    const rows = reportRows(machine(changes), verdict);
    expect(rows.every(([subject, found]) => subject && found && !/undefined|NaN/.test(found))).toBe(true);
  });
});

describe('facts', () => {
  it('about the driver come from the closed and the open kernel module', () => {
    const closed = 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n';
    const open =
      'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x)\nGCC version: 12.2.0';
    expect(driverVersion(closed)).toBe('535.104.05');
    expect(driverVersion(open)).toBe('580.65.06');
    expect(driverVersion('')).toBeUndefined();
  });

  it('about GPUs leave out what is no GPU', () => {
    expect(gpusOf('NVIDIA H200, 9.0, 143771\nNo devices were found\nGrace, [N/A], 5\n')).toEqual([
      { name: 'NVIDIA H200', capability: '9.0', memory: 143771 * 2 ** 20 },
    ]);
  });

  it('are read from the files of Linux', () => {
    expect(osName('NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')).toBe(
      'Debian GNU/Linux 12 (bookworm)',
    );
    expect(cpuOf('model name\t: X 9000\nflags\t\t: fpu avx2 fma avx512_bf16 other\n')).toEqual({
      model: 'X 9000',
      features: ['avx2', 'fma', 'avx512_bf16'],
    });
    expect(cpuOf('')).toEqual({ model: undefined, features: [] });
    expect([memoryLimit('max\n'), memoryLimit('1073741824\n'), memoryLimit('')]).toEqual([
      undefined,
      2 ** 30,
      undefined,
    ]);
    expect(packageManagerOf('pnpm/10.2.0 npm/? node/v20.19.0 linux x64')).toBe('pnpm 10.2.0');
    expect(packageManagerOf(undefined)).toBeUndefined();
  });

  it('compare versions by numbers', () => {
    expect(compareVersions('2.4', '2.34')).toBeLessThan(0);
    expect(compareVersions('580.65.06', '580')).toBeGreaterThan(0);
    expect(compareVersions('20.19.0', '20.19')).toBe(0);
  });

  it('are gathered on this machine', async () => {
    const facts = await gatherFacts();
    expect(facts.install).toMatchObject({ root: packageRoot, version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(facts.system.cores).toBeGreaterThan(0);
    expect(facts.system.available).toBeLessThanOrEqual(facts.system.memory);
    expect(facts.node.version).toBe(process.versions.node);
  });
});

describe('the load test', () => {
  const folder = mkdtempSync(join(tmpdir(), 'train-moe-doctor-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A stand-in for the addon, to be had in every state; `require` takes it as it takes a binary. */
  function standIn(body: string): string {
    const path = join(folder, `${Math.random().toString(36).slice(2)}.cjs`);
    writeFileSync(
      path,
      `const x = { abi: 7, openCpu: () => ({ index: 0, name: 'cpu-test' }), openLibrary: () => ({ index: 1, name: 'cuda' }),
        create: () => 1, ops: { fill: () => {} }, read: (id, to) => to.fill(1.5), hostInfo: () => ({ isas: ['portable'] }) };
      module.exports = x; ${body}`,
    );
    return path;
  }

  it('reports a binary that computes', async () => {
    const works = { state: 'works', abi: 7, isas: ['portable'] };
    expect(await probe(standIn('console.log("a library says hello")'))).toEqual({ ...works, backend: 'cpu-test' });
    expect(await probe(standIn(''), 'a.so')).toEqual({ ...works, backend: 'cuda' });
  });

  it('reports one that refuses, computes wrongly, crashes, exits or hangs', async () => {
    const refusing = standIn('x.openCpu = () => { throw new Error("no such CPU.\\nmore") }');
    expect(await probe(refusing)).toEqual({ state: 'refused', abi: 7, reason: 'no such CPU.' });
    const wrong = await probe(standIn('x.read = () => {}'));
    expect(wrong).toMatchObject({ state: 'refused', reason: 'it fills memory with wrong values' });
    const crashing = standIn('x.openCpu = () => process.kill(process.pid, "SIGSEGV")');
    expect(await probe(crashing)).toEqual({ state: 'crashed', signal: 'SIGSEGV' });
    const leaving = await probe(standIn('console.error("out of luck"); process.exit(3)'));
    expect(leaving).toEqual({ state: 'refused', reason: 'the child process ended with status 3: out of luck' });
    expect(await probe(standIn('for (;;);'), undefined, 1)).toEqual({ state: 'hung', seconds: 1 });
    const missing = await probe(join(folder, 'none.node'));
    expect(missing).toMatchObject({ state: 'refused', reason: expect.stringContaining('Cannot find module') });
  });

  it('reads nothing from output without its mark', () => expect(readProbe('{"state":"works"}\n')).toBeUndefined());

  it('finds binaries in the order of the loader', async () => {
    const root = join(folder, 'package');
    const target = `${process.platform}-${process.arch}`;
    for (const path of [
      'build/Release/train_moe.node',
      `prebuilds/${target}/train-moe.node`,
      `prebuilds/${target}/train_moe_cuda.so`,
    ]) {
      mkdirSync(join(root, path, '..'), { recursive: true });
      writeFileSync(join(root, path), 'not a library');
    }
    const { binaries, install } = await gatherFacts(root);
    expect(install.version).toBeUndefined();
    expect(binaries.map(({ path, kind, load }) => [path.slice(root.length + 1), kind, load.state])).toEqual([
      ['build/Release/train_moe.node', 'addon', 'refused'],
      [`prebuilds/${target}/train-moe.node`, 'addon', 'refused'],
      [`prebuilds/${target}/train_moe_cuda.so`, 'cuda', 'refused'],
    ]);
    expect(binaries[2]!.load).toMatchObject({ reason: 'no addon works that could open it' });
  });
});

describe('the requirements', () => {
  const read = (path: string): string => readFileSync(join(packageRoot, path), 'utf8');

  it('are those of the sources and of package.json', () => {
    expect(read('native/backend.h')).toContain(`kAbi = ${requirements.abi};`);
    expect(JSON.parse(read('package.json'))).toMatchObject({
      engines: { node: `>=${requirements.node.replace(/\.0$/, '')}` },
      binary: { napi_versions: [requirements.napi] },
    });
  });
});
