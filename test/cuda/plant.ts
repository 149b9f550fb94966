import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addon, packageRoot } from '../../src/native.js';
import { type Device, device, scope } from '../../src/tensor/index.js';
import { relativeError } from '../ops/harness.js';
import { benchOf, calls, valuesOf } from './calls.js';
import { type Mutant, mutants } from './mutants.js';

/*
 * Is the emulator any good? Every planted bug must be noticed. A mutant is the library with one file (or, for a header, the files
 * that its calls run) compiled again from a copy of the sources and linked with the objects of an emulator build: that of
 * native/build.mjs, or of the folder that TRAIN_MOE_MUTANTS names. Five minutes on two cores: .ci/run, which builds elsewhere, leaves
 * them out.
 */

const build = process.env.TRAIN_MOE_MUTANTS ?? join(packageRoot, 'build', 'cmake');
const listing = join(build, 'compile_commands.json');
const built = existsSync(join(build, 'train_moe_emulator.so')) && existsSync(listing);
const seeds = ['11', '12', '13', '14'];

/** Sources that a header's edit reaches, for the calls named beside it. */
const users: Readonly<Record<string, readonly string[]>> = {
  'tile.cuh': ['attention_forward.cu', 'attention_backward.cu'],
  'attention_hopper.cuh': ['attention_hopper_forward.cu', 'attention_hopper_keys.cu', 'attention_hopper_queries.cu'],
  'gemm/common.cuh': ['gemm/tensor.cu', 'gemm/plain.cu', 'gemm/hopper.cu'],
  'gemm/hopper_ring.cuh': ['gemm/hopper.cu'],
  'gemm/hopper_results.cuh': ['gemm/hopper.cu'],
  'cuda.cuh': ['optimizer.cu', 'balance.cu'],
  'adam.cuh': ['optimizer.cu', 'optimizer_8bit.cu'],
  'norm.cuh': ['norm.cu'],
  'best.cuh': ['sample.cu'],
  'decode.cuh': ['decode.cu'],
  'decode_block.cuh': ['decode.cu'],
  'decode_tensor.cuh': ['decode.cu'],
  'segments.cuh': ['optimizer.cu', 'router_bias.cu'],
};

/** One line of compile_commands.json. */
interface Compile {
  readonly file: string;
  readonly command: string;
}

/** The object that a command writes. */
const objectOf = (c: Compile) => join(build, / -o (\S+)/.exec(c.command)![1]!);

/** Files whose unedited copies must pass: what a mutant shows is the edit's. */
const untouched = [
  'gemm/tensor.cu',
  'gemm/hopper.cu',
  'cuda.cuh',
  'attention_forward.cu',
  'attention_hopper_forward.cu',
  'attention_hopper_keys.cu',
  'attention_hopper_queries.cu',
  'decode.cu',
  'optimizer_8bit.cu',
  'segments.cuh',
];

/**
 * Tests that each mutant of these files is noticed. Every mutant is a library that stays loaded, with stacks for its threads, and
 * a process may map only so many pieces of memory: so they are spread over several test files.
 */
export function noticeMutants(wanted: (file: string) => boolean): void {
  describe.skipIf(!built)(`planted bugs${built ? '' : ' (no emulator build in build/cmake)'}`, () => {
    let folder = '';
    let objects: Compile[] = [];

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'mutants-'));
      objects = (JSON.parse(readFileSync(listing, 'utf8')) as Compile[]).filter((c) =>
        c.command.includes('train_moe_emulator.dir'),
      );
      expect(objects.length).toBeGreaterThan(10);
    });
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    /** Compiles the mutant's files from an edited copy and links them with the other objects. */
    function plant(mutant: Mutant): Device {
      const copy = mkdtempSync(join(folder, 'mutant-'));
      for (const part of ['kernels', 'native']) cpSync(join(packageRoot, part), join(copy, part), { recursive: true });
      const edited = join(copy, 'kernels', 'cuda', mutant.file);
      const before = readFileSync(edited, 'utf8');
      expect(before.split(mutant.find).length, `${mutant.what}: the edit fits ${mutant.file} once`).toBe(2);
      writeFileSync(
        edited,
        before.replace(mutant.find, () => mutant.replace),
      );
      const own = users[mutant.file] ?? [mutant.file];
      const linked = objects.map((object) => {
        const source = own.find((s) => object.file.endsWith(join('kernels', 'cuda', s)));
        if (!source) return objectOf(object);
        const output = join(copy, `${basename(source)}.o`);
        const command = object.command
          .replaceAll(packageRoot, copy)
          .replace(/ -M[DTF]( \S+\.o(\.d)?)?/g, '')
          .replace(/ -o \S+/, ` -w -O1 -o ${output}`);
        execFileSync('sh', ['-c', command], { cwd: build });
        return output;
      });
      const library = join(copy, 'train_moe_emulator.so');
      execFileSync('g++', ['-shared', '-o', library, ...linked, '-static-libstdc++', '-static-libgcc']);
      return { ...addon.openLibrary(library), kind: 'emulator', fastBf16: false };
    }

    /** The first difference from the CPU or error that any schedule shows; undefined when all agree. */
    function noticed(on: Device, names: readonly string[]): string | undefined {
      for (const call of calls.filter((c) => names.some((n) => c.name.startsWith(n))))
        for (const dtype of [...(call.dtypes ?? (['bf16'] as const))]) {
          const run = (where: Device) =>
            scope(() => call.run(benchOf(where, dtype)).map((t) => Array.from(valuesOf(t))));
          const expected = run(device('cpu'));
          for (const seed of seeds) {
            process.env.TRAIN_MOE_EMULATOR_SEED = seed;
            try {
              const mine = run(on);
              const wrong = mine.findIndex((y, i) => !(relativeError(y, expected[i]!) < (call.tolerance ?? 1e-2)));
              if (wrong >= 0) return `result ${wrong} of ${call.name} differs`;
            } catch (error) {
              return String(error);
            } finally {
              delete process.env.TRAIN_MOE_EMULATOR_SEED;
            }
          }
        }
      return undefined;
    }

    const mine = mutants.filter((m) => wanted(m.file));
    it('are many', () => expect(mine.length).toBeGreaterThanOrEqual(12));
    for (const file of untouched.filter((f) => mine.some((m) => m.file === f)))
      it(`an untouched copy of ${file} is not taken for one`, { timeout: 180_000 }, () => {
        const same = mutants.find((m) => m.file === file)!;
        expect(noticed(plant({ ...same, replace: same.find }), same.calls)).toBeUndefined();
      });
    for (const mutant of mine)
      it(`is noticed: ${mutant.what}`, { timeout: 180_000 }, () =>
        expect(noticed(plant(mutant), mutant.calls)).toMatch(mutant.says ?? /./),
      );
  });
}
