import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ABI } from '../../src/abi.js';
import { addon, packageRoot } from '../../src/native.js';
import { installPackage } from '../package/installed.js';

/* Libraries that stand in for what this machine does not have: a profiler, and a binary of another version. */

const compiler = ['cc', 'gcc'].find((name) => spawnSync(name, ['--version']).status === 0);
const folder = mkdtempSync(join(tmpdir(), 'train-moe-stand-in-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Compiles a backend library; the addon of this process may open it. */
function compileBackend(name: string, ...options: string[]): string {
  const out = join(folder, `${name}.so`);
  const words = ['-std=gnu++20', '-shared', '-fPIC', '-fvisibility=hidden', ...options, '-o', out];
  const { status, stderr } = spawnSync('g++', [...words, join(packageRoot, 'test', 'native', 'failing_backend.cc')], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return out;
}

function compile(source: string, out: string): string {
  const headers = join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include');
  const words = ['-shared', '-fPIC', '-I', headers, '-o', out, join(packageRoot, 'test', 'native', source)];
  const { status, stderr } = spawnSync(compiler!, words, { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return out;
}

const plainEnvironment = () => {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return env;
};

describe.skipIf(!compiler)(`with a C compiler${compiler ? '' : ' (there is none)'}`, () => {
  const installed = installPackage('stand-ins');

  it('a profiler sees the blocks and ops of the model, forward and backward', () => {
    const program = join(folder, 'program.mjs');
    const from = (path: string) => JSON.stringify(join(installed, 'dist', path));
    writeFileSync(
      program,
      `import { createModel } from ${from('models/codec.js')};
       import { llama, llamaPresets } from ${from('models/llama.js')};
       import { lossInputs, lossOf } from ${from('train/loss.js')};
       import { device, differentiate, named } from ${from('tensor/index.js')};
       const cpu = device('cpu');
       const config = { ...llamaPresets['dense-nano'], vocabulary: 32, hidden: 16, layers: 2, heads: 2, keyHeads: 2, headSize: 8, inner: 16, context: 16 };
       const model = createModel(llama, config, { device: cpu, dtype: 'f32', seed: 1, train: true });
       const ids = new Int32Array(8);
       const batch = { rows: 1, length: 8, ids, targets: ids, documentStart: ids, trainedTokens: 8, bytes: 0 };
       const inputs = lossInputs(model, batch, { device: cpu, trainedTokens: 8 });
       console.error('start');
       named('step', () => differentiate(() => ({ losses: [lossOf(model, inputs, {}).main] })));`,
    );
    const library = compile('profiler.c', join(folder, 'profiler.so'));
    const run = (env: NodeJS.ProcessEnv) =>
      spawnSync(process.execPath, [program], { encoding: 'utf8', env: { ...plainEnvironment(), ...env } });
    const seen = run({ NVTX_INJECTION64_PATH: library });
    expect(seen.status, seen.stderr).toBe(0);
    const ranges = seen.stderr.slice(seen.stderr.indexOf('start\n') + 6).split('\n');
    const nested = (...names: string[]) => {
      let at = 0;
      for (const [depth, name] of names.entries()) {
        at = ranges.indexOf(`${'  '.repeat(depth)}${name}`, at);
        expect(at, `${names.slice(0, depth + 1).join(' > ')} in\n${seen.stderr}`).toBeGreaterThanOrEqual(0);
      }
    };
    nested('step', 'layer 1', 'attend', 'attention_forward');
    nested('step', 'layer 0', 'feed', 'linear_swiglu');
    nested('step', 'head', 'linear_cross_entropy_train');
    nested('step', 'step/layer 1/attend/rmsnorm backward', 'rmsnorm_backward');
    expect(run({}).stderr).toBe('start\n');
  });

  it('a binary of another version is refused by number', () => {
    const home = join(installed, 'prebuilds', `${process.platform}-${process.arch}`);
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home, { recursive: true });
    compile('other_abi.c', join(home, 'train-moe.node'));
    const cli = join(installed, 'dist', 'cli', 'index.js');
    const { status, stderr } = spawnSync(process.execPath, [cli, 'bench', '--job', 'copy', '--smoke'], {
      encoding: 'utf8',
      env: plainEnvironment(),
    });
    expect(stderr).toBe(
      `train-moe: The native binary has ABI 1, this package's JavaScript ${ABI}: they are of different versions. Rebuild it: ` +
        '"npm rebuild train-moe" (in a checkout: npm run build). "train-moe doctor" names the file.\n',
    );
    expect(status).toBe(3);
  });
});

describe.skipIf(spawnSync('g++', ['--version']).status !== 0)('a backend library (needs g++)', () => {
  it('that fails in an op is told with the shapes of the call', () => {
    const { index } = addon.openLibrary(compileBackend('failing'));
    const f32 = 0;
    const [y, a] = [addon.create(index, f32, 0, 2, 4), addon.create(index, f32, 0, 2, 4)];
    expect(() => addon.ops.add!(y, a, a)).toThrow(
      'add: CUDA reports "an illegal memory access was encountered". The call was add(y[2,4]:f32, a[2,4]:f32, b[2,4]:f32).',
    );
    addon.release(Float64Array.of(y, a), 2);
  });

  it('that lacks memory for an op gets back what is kept for reuse, and else is told who holds what', () => {
    const { index } = addon.openLibrary(compileBackend('short'));
    const [f32, half, small] = [0, 1 << 17, 16]; // its fill needs three quarters of a mebibyte
    const [x, y] = [addon.create(index, f32, 0, half), addon.create(index, f32, 0, small)];
    const before = addon.setTag('weights');
    const held = addon.create(index, f32, 0, small);
    addon.setTag(before);
    expect(() => addon.ops.fill!(y, 0)).toThrow(
      'fill: no scratch memory. Held now: untagged 0.52 MB, weights 0.00 MB. The call was fill(y[16]:f32).',
    );
    addon.release(Float64Array.of(x), 1);
    expect(addon.memory(index, false).cached).toBe(4 * half);
    addon.ops.fill!(y, 0);
    expect(addon.memory(index, false).cached).toBe(0);
    addon.release(Float64Array.of(y, held), 2);
  });

  it('of another version is refused by number', () => {
    expect(() => addon.openLibrary(compileBackend('other', '-DOTHER_ABI'))).toThrow(
      `the backend library failing has ABI ${ABI - 1}, this addon ${ABI}; rebuild it (npm run build).`,
    );
  });

  it('has the number of the header', () => {
    const header = readFileSync(join(packageRoot, 'native', 'backend.h'), 'utf8');
    expect(Number(/kAbi = (\d+);/.exec(header)![1])).toBe(ABI);
  });
});
