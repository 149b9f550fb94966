import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openModelFolder } from '../../../src/hub/folder.js';
import { checkpointsFolder, findLatest, saveCheckpoint, verifyCheckpoint } from '../../../src/train/run/checkpoint.js';
import { type DiskOps, NODE_DISK_OPS } from '../../../src/train/run/disk.js';
import { thrown } from '../../hub/memory.js';
import { temporaryFolder } from '../../hub/temporary.js';
import { compileProgram } from './compile.js';
import { writeExample } from './content.js';

const save = (runDir: string, step: number, options = {}) =>
  saveCheckpoint(runDir, step, (folder) => writeExample(folder, step), options);

const names = (runDir: string) => readdirSync(checkpointsFolder(runDir)).sort();

/** The step that every file of a checkpoint agrees on. */
function stepInside(path: string): number {
  const model = openModelFolder(path);
  const moments = openModelFolder(join(path, 'trainer/moments.safetensors'));
  const steps = new Set([
    model.config!.values.step,
    JSON.parse(readFileSync(join(path, 'trainer/state.json'), 'utf8')).step,
    ...[model, moments].flatMap(({ tensors }) => tensors.names().flatMap((name) => [...tensors.read(name)])),
  ]);
  model.close();
  moments.close();
  expect(steps.size).toBe(1);
  return [...steps][0] as number;
}

/** All files below a folder. */
function filesOf(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Disk operations of which the n-th fails, alone or with all that follow, as when the process dies there. */
function failingDisk(n: number, code: string, mode: 'once' | 'dead'): DiskOps & { readonly failed: () => boolean } {
  let count = 0;
  const wrap =
    <A extends unknown[], R>(operation: (...args: A) => R) =>
    (...args: A): R => {
      count++;
      if (mode === 'once' ? count === n : count >= n) throw Object.assign(new Error(`${code}: injected`), { code });
      return operation(...args);
    };
  const wrapped = Object.entries(NODE_DISK_OPS).map(([name, operation]) => [name, wrap(operation as () => unknown)]);
  return { ...(Object.fromEntries(wrapped) as DiskOps), failed: () => count >= n };
}

describe('a checkpoint', () => {
  it('is a loadable model folder with the trainer state, and latest points to it', () => {
    const run = temporaryFolder();
    const saved = save(run, 7);
    expect(saved.warnings).toEqual([]);
    expect(findLatest(run)).toEqual({ checkpoint: { path: saved.path, step: 7 }, damaged: [] });
    expect(stepInside(join(checkpointsFolder(run), 'latest'))).toBe(7);
    save(run, 8);
    expect(readlinkSync(join(checkpointsFolder(run), 'latest'))).toBe('step-00000008');
  });

  it('is kept with the newest N, counted over complete ones only', () => {
    const run = temporaryFolder();
    for (const step of [1, 2, 3]) save(run, step, { keep: 2 });
    expect(names(run)).toEqual(['latest', 'step-00000002', 'step-00000003']);
    rmSync(join(checkpointsFolder(run), 'step-00000003', 'config.json'));
    save(run, 4, { keep: 2 });
    // 3 is broken: it neither counts nor pushes 2 out.
    expect(names(run)).toEqual(['latest', 'step-00000002', 'step-00000003', 'step-00000004']);
  });

  it('of a step saved before stands beside the old one and is preferred', () => {
    const run = temporaryFolder();
    const first = save(run, 5);
    writeFileSync(join(first.path, 'config.json'), '{"step": 6}');
    const second = save(run, 5);
    expect(second.path).not.toBe(first.path);
    expect(findLatest(run).checkpoint).toEqual({ path: second.path, step: 5 });
    for (let i = 0; i < 10; i++) save(run, 5, { keep: 1 });
    expect(findLatest(run).checkpoint!.path).toMatch(/-r11$/);
  });

  it('that no one saved yet is none', () => {
    expect(findLatest(temporaryFolder())).toEqual({ damaged: [] });
    expect(findLatest('/nowhere/at/all')).toEqual({ damaged: [] });
  });

  it.each([
    [-1, 3, 'step is -1'],
    [1.5, 3, 'step is 1.5'],
    [1, 0, 'keep is 0'],
  ])('of step %d keeping %d is refused', (step, keep, sentence) => {
    expect(thrown(() => save(temporaryFolder(), step, { keep })).message).toContain(sentence);
  });

  it('clears away what interrupted saves and deletions left', () => {
    const run = temporaryFolder();
    save(run, 1);
    for (const name of ['.saving-step-00000002', '.deleting-step-00000000']) {
      mkdirSync(join(checkpointsFolder(run), name));
      writeFileSync(join(checkpointsFolder(run), name, 'x'), 'x');
    }
    save(run, 2);
    expect(names(run)).toEqual(['latest', 'step-00000001', 'step-00000002']);
  });

  it('whose writer throws leaves no trace, and the error passes through', () => {
    const run = temporaryFolder();
    save(run, 1);
    const broken = () => saveCheckpoint(run, 2, (folder) => folder.file('../x', () => {}));
    expect(thrown(broken).code).toBe('bad-argument');
    expect(names(run)).toEqual(['latest', 'step-00000001']);
  });
});

describe('a damaged checkpoint', () => {
  /** Two checkpoints; `damage` changes a file of the newer one and must be noticed, with the file's name. */
  function twoCheckpoints() {
    const run = temporaryFolder();
    const good = save(run, 1).path;
    const bad = save(run, 2).path;
    const notices = (file: string, damage: (bytes: Buffer) => Buffer): boolean => {
      const before = readFileSync(file);
      writeFileSync(file, damage(Buffer.from(before)));
      const { checkpoint, damaged } = findLatest(run);
      writeFileSync(file, before);
      return checkpoint?.path === good && damaged.length === 1 && damaged[0]!.message.includes(file);
    };
    return { run, bad, notices };
  }

  it('with a bit flipped anywhere is passed over, and the file is named', () => {
    const { bad, notices, run } = twoCheckpoints();
    let places = 0;
    for (const file of filesOf(bad)) {
      const size = readFileSync(file).length;
      for (let at = 0; at < size; at += 7, places++) {
        const noticed = notices(file, (bytes) => {
          bytes[at]! ^= 1 << (at % 8);
          return bytes;
        });
        expect(noticed, `${file} byte ${at}`).toBe(true);
      }
    }
    expect(places).toBeGreaterThan(400);
    expect(findLatest(run).damaged).toEqual([]);
  });

  it('cut short or grown is passed over', () => {
    const { bad, notices } = twoCheckpoints();
    for (const file of filesOf(bad)) {
      for (const share of [0, 0.1, 0.5, 0.9, 0.999]) {
        expect(
          notices(file, (bytes) => bytes.subarray(0, Math.floor(bytes.length * share))),
          `${file} ${share}`,
        ).toBe(true);
      }
      expect(
        notices(file, (bytes) => Buffer.concat([bytes, Buffer.from(' ')])),
        file,
      ).toBe(true);
    }
  });

  it('with a page of zeros names the tensor', () => {
    const run = temporaryFolder();
    saveCheckpoint(run, 1, (folder) => writeExample(folder, 1, 4096));
    const file = join(findLatest(run).checkpoint!.path, 'trainer/moments.safetensors');
    const bytes = readFileSync(file);
    const start = bytes.length - 3 * 4 * 4096;
    writeFileSync(file, Buffer.from(bytes).fill(0, start + 20_000, start + 24_096));
    const { checkpoint, damaged } = findLatest(run);
    expect(checkpoint).toBeUndefined();
    expect(damaged[0]!.message).toBe(
      `${file}: b (bytes ${start + 16_384} to ${start + 32_768}) does not match its checksum.`,
    );
  });

  it('without a file, without a manifest, or with one of a later version is passed over', () => {
    const { run, bad } = twoCheckpoints();
    const manifest = readFileSync(join(bad, 'manifest.json'), 'utf8');
    rmSync(join(bad, 'trainer/state.json'));
    expect(findLatest(run).damaged[0]!.message).toContain('trainer/state.json is missing');
    rmSync(join(bad, 'manifest.json'));
    expect(findLatest(run).damaged[0]!.message).toContain('not complete');
    writeFileSync(join(bad, 'manifest.json'), manifest.replace('"step": 2', '"step": 3'));
    expect(verifyCheckpoint(bad)).toContain('does not match its own checksum');
    for (const text of ['null', '[]', '{}', '{"files": 1}', '']) {
      writeFileSync(join(bad, 'manifest.json'), text);
      expect(verifyCheckpoint(bad)).toContain('manifest.json');
    }
  });
});

describe('a disk that fails', () => {
  it.each(['ENOSPC', 'EACCES'])(
    'with %s at any one operation leaves a whole checkpoint, and the next save works',
    (code) => {
      const run = temporaryFolder();
      save(run, 0, { keep: 1 });
      const outcomes = { refused: 0, warned: 0 };
      let step = 1;
      for (let n = 1; ; n++, step += 2) {
        const ops = failingDisk(n, code, 'once');
        let kept = step;
        try {
          if (save(run, step, { keep: 1, ops }).warnings.length > 0) outcomes.warned++;
        } catch (error) {
          expect((error as Error).message).toContain(`(${code})`);
          outcomes.refused++;
          kept = findLatest(run).checkpoint!.step;
          // The rename may have happened before a later sync failed; then the new one is whole.
          expect([step, step - 1]).toContain(kept);
        }
        expect(findLatest(run)).toMatchObject({ checkpoint: { step: kept }, damaged: [] });
        expect(stepInside(findLatest(run).checkpoint!.path)).toBe(kept);
        expect(save(run, step + 1, { keep: 1 }).warnings).toEqual([]);
        expect(names(run)).toEqual(['latest', `step-${String(step + 1).padStart(8, '0')}`]);
        if (!ops.failed()) break;
      }
      expect(outcomes.refused).toBeGreaterThan(20);
      expect(outcomes.warned).toBeGreaterThan(2);
    },
  );

  it('for good from any operation on, as if the process died there, leaves a whole checkpoint', () => {
    const run = temporaryFolder();
    save(run, 0, { keep: 1 });
    for (let n = 1, step = 1; ; n++, step++) {
      const ops = failingDisk(n, 'EIO', 'dead');
      try {
        save(run, step, { keep: 1, ops });
      } catch {}
      const { checkpoint, damaged } = findLatest(run);
      expect(damaged).toEqual([]);
      expect([step, step - 1]).toContain(stepInside(checkpoint!.path));
      if (checkpoint!.step < step) save(run, step, { keep: 1 });
      if (!ops.failed()) break;
    }
  });

  it('with short writes still gets every byte', () => {
    const run = temporaryFolder();
    const ops: DiskOps = {
      ...NODE_DISK_OPS,
      writeSync: (descriptor, bytes, offset, length) =>
        NODE_DISK_OPS.writeSync(descriptor, bytes, offset, Math.min(length, 5)),
    };
    save(run, 3, { ops });
    expect(stepInside(findLatest(run).checkpoint!.path)).toBe(3);
  });

  it('or a folder that is a file, is named', () => {
    const run = temporaryFolder();
    writeFileSync(join(run, 'checkpoints'), '');
    expect(thrown(() => save(run, 1)).message).toContain(`Cannot save the checkpoint of step 1 in ${run}`);
    expect(thrown(() => findLatest(run)).message).toContain('is a file, not a folder');
  });
});

describe('another process', () => {
  const saver = (run: string, first: number, elements: number, keep: number) =>
    [compiled!, run, String(first), String(elements), String(keep)] as const;
  let compiled: string | undefined;

  it('killed at any moment of saving leaves a whole checkpoint, the last one it reported or a later one', async () => {
    const folder = temporaryFolder();
    compiled = compileProgram('test/train/run/saver.program.ts', join(folder, 'js'));
    const run = join(folder, 'run');
    let reached = 0;
    for (let kill = 0; kill < 15; kill++) {
      const child = spawn(process.execPath, saver(run, reached + 1, 20_000, 2), {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      const closed = new Promise((resolve) => child.on('close', resolve));
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (text) => {
          output += text;
          resolve();
        });
      });
      setTimeout(() => child.kill('SIGKILL'), Math.random() * 40);
      await closed;
      const reported = Number(output.trim().split('\n').at(-1));
      const { checkpoint, damaged } = findLatest(run);
      expect(damaged).toEqual([]);
      expect(checkpoint!.step).toBeGreaterThanOrEqual(reported);
      expect(stepInside(checkpoint!.path)).toBe(checkpoint!.step);
      expect(existsSync(join(checkpointsFolder(run), 'latest', 'config.json'))).toBe(true);
      reached = checkpoint!.step;
    }
    expect(reached).toBeGreaterThanOrEqual(15); // each of them saved at least one step more
  }, 240_000);

  const canMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;
  it.skipIf(!canMount)('on a disk that really fills up stops with one sentence (needs unshare and tmpfs)', () => {
    const folder = temporaryFolder();
    compiled = compileProgram('test/train/run/saver.program.ts', join(folder, 'js'));
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const script = `mount -t tmpfs -o size=1m none ${disk} && "$@"; code=$?; ls -A ${disk}/checkpoints; exit $code`;
    const command = ['-rm', 'sh', '-c', script, 'sh', process.execPath, ...saver(disk, 1, 10_000, 100)];
    const result = spawnSync('unshare', command, { encoding: 'utf8' });
    expect(result.stderr).toMatch(/^Cannot write .*: the disk is full; .*\(ENOSPC\)\.$/);
    expect(result.status).toBe(3);
    // What fitted is there; nothing half-made is.
    expect(result.stdout.trim().split('\n')).toEqual([
      '1',
      '2',
      '3',
      '4',
      'latest',
      ...[1, 2, 3, 4].map((n) => `step-0000000${n}`),
    ]);
  });
});
