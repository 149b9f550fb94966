import { describe, expect, test, vi } from 'vitest';
import { code } from '../../../src/rl/rewards/index.js';

/** The tools a machine lacks in a test. */
const lacking = vi.hoisted(() => new Set<string>());
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  return {
    ...fs,
    accessSync(file: string, mode?: number) {
      if (lacking.has(String(file).split('/').at(-1)!)) throw new Error('ENOENT');
      fs.accessSync(file, mode);
    },
  };
});

describe.runIf(process.platform === 'linux')('without a sandbox code is refused, not run', () => {
  test.each(['bwrap', 'prlimit'])('where %s is missing', async (tool) => {
    lacking.clear();
    lacking.add(tool);
    // Where bwrap is missing, too, its sentence comes first.
    const needed =
      tool === 'bwrap' ? /no "bwrap" was found\. Install it \("apt-get install bubblewrap"/ : /"bwrap"|"prlimit"/;
    await expect(code().prepare!()).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringMatching(needed),
    });
    const sample = { prompt: '', completion: 'x = 1', meta: { test: 'assert x == 1' } };
    await expect(code().score(sample)).rejects.toMatchObject({ code: 'not-found' });
  });
});
