import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram, programFolder } from '../train/run/compile.js';
import { on, rehearsal, sanitized } from './device.js';

/* Ops run behind the caller on a GPU, so that a wait tells of a failure: of which op, TRAIN_MOE_SYNC=1 says. */

let folder: string;
let program: string;
beforeAll(() => {
  folder = programFolder('sync');
  program = compileProgram('test/gpu/failing.program.ts', folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a process says whose op fails; a process each, since the device's context does not survive every failure. */
function said(failure: 'id' | 'page', environment: Readonly<Record<string, string>>): string {
  const { TRAIN_MOE_SYNC: _, ...env } = process.env;
  const run = spawnSync(process.execPath, [program, on.kind, failure], {
    encoding: 'utf8',
    env: { ...env, ...environment },
    timeout: 120_000,
  });
  return run.stdout || run.stderr;
}

const NAMED = { TRAIN_MOE_SYNC: '1' };

describe.skipIf(sanitized)('an op that fails on the device', () => {
  it('is named with TRAIN_MOE_SYNC=1', () => {
    expect(said('id', NAMED)).toMatch(/^embedding_forward: an id lies outside the table/);
  });

  it.skipIf(rehearsal)('is told by the next wait without it', () => {
    expect(said('id', {})).toMatch(/^an op that ran before this wait: an id lies outside the table/);
  });

  it.skipIf(rehearsal)(
    'is named as well when it breaks the context; without it the sentence says how to find out',
    () => {
      expect(said('page', NAMED)).toMatch(
        /^mla_decode: CUDA reports "an illegal memory access.*" \(wait after the op\)\.$/,
      );
      expect(said('page', {})).toMatch(/CUDA reports ".*; TRAIN_MOE_SYNC=1 names the op that failed\.$/);
    },
  );

  it.runIf(rehearsal)('is named by the emulator, which sees the access itself', () => {
    expect(said('page', {})).toMatch(/^memory that is not allocated was touched, .* The call was mla_decode\(/);
  });
});
