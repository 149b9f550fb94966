import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { quantiseBlocks } from '../../src/hub/blocks.js';
import { folderSink } from '../../src/hub/byte_sink.js';
import { EMPTY_CONFIG, withValues } from '../../src/hub/config_json.js';
import { asBytes, type TensorSpec } from '../../src/hub/dtype.js';
import { openModelFolder, writeModelFolder } from '../../src/hub/folder.js';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { sharedPath } from '../shared.js';
import { thrown } from './memory.js';
import { temporaryFolder } from './temporary.js';

const array = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i) * (1 + i));

/** A folder with a quantised 5 x 7 matrix in 2 x 3 blocks, next to plain tensors of several types. */
function exampleFolder(scaleShape = [3, 3]): string {
  const folder = temporaryFolder();
  const weight = quantiseBlocks(array(35), 5, 7, { rows: 2, cols: 3 });
  const content: Record<string, readonly [TensorSpec['dtype'], number[], Uint8Array]> = {
    'a.weight': ['F8_E4M3', [5, 7], weight.codes],
    'a.weight_scale_inv': ['F32', scaleShape, asBytes(weight.scales)],
    'b.weight': ['F8_E4M3', [2], Uint8Array.of(0x38, 0xb8)],
    'c.weight_scale_inv': ['F32', [1], asBytes(Float32Array.of(7))],
    half: ['F16', [2], asBytes(Uint16Array.of(0x3c00, 0xc000))],
    brain: ['BF16', [2], asBytes(Uint16Array.of(0x3f80, 0xc000))],
    wide: ['F64', [], asBytes(Float64Array.of(0.1))],
    e5m2: ['F8_E5M2', [1], Uint8Array.of(0x3c)],
    ids: ['I32', [2], asBytes(Int32Array.of(3, -4))],
  };
  writeModelFolder(folderSink(folder), {
    config: withValues(EMPTY_CONFIG, { model_type: 'x', quantization_config: { weight_block_size: [2, 3] } }),
    generationConfig: withValues(EMPTY_CONFIG, { eos_token_id: 1 }),
    tensors: Object.entries(content).map(([name, [dtype, shape]]) => ({ name, dtype, shape })),
    data: ({ name }) => content[name]![2],
    maxShardBytes: 50,
  });
  return folder;
}

describe('a model folder', () => {
  it('is opened with its settings and the tensors of all shards', () => {
    const folder = exampleFolder();
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(['config.json', 'model-00001-of-00003.safetensors']));
    const model = openModelFolder(folder);
    expect(model.config!.values.model_type).toBe('x');
    expect(model.generationConfig!.values.eos_token_id).toBe(1);
    const wanted = ['a.weight', 'b.weight', 'brain', 'c.weight_scale_inv', 'e5m2', 'half', 'ids', 'wide'];
    expect([...model.tensors.names()].sort()).toEqual(wanted);
    model.close();
  });

  it('reads every float type as float32, and FP8 weights through their scales', () => {
    const model = openModelFolder(exampleFolder());
    const read = (name: string) => [...model.tensors.read(name)];
    expect(read('half')).toEqual([1, -2]);
    expect(read('brain')).toEqual([1, -2]);
    expect(read('wide')).toEqual([Math.fround(0.1)]);
    expect(read('e5m2')).toEqual([1]);
    expect(read('b.weight')).toEqual([1, -1]);
    const error = read('a.weight').map((value, i) => Math.abs(value - array(35)[i]!) / Math.abs(array(35)[i]! || 1));
    expect(Math.max(...error)).toBeLessThan(0.07);
    expect(model.tensors.info('a.weight')).toMatchObject({ dtype: 'F8_E4M3', shape: [5, 7], byteLength: 35 });
    model.close();
  });

  it('gives integers as bytes only, and names what is missing', () => {
    const { tensors } = openModelFolder(exampleFolder());
    expect([...new Int32Array(tensors.raw('ids').slice().buffer)]).toEqual([3, -4]);
    expect(thrown(() => tensors.read('ids')).message).toContain('holds I32');
    const error = thrown(() => tensors.read('nothing'));
    expect(error.code).toBe('not-found');
    expect(error.message).toContain('has no tensor nothing; it has');
    tensors.close();
  });

  it('whose scales do not fit its block size says both shapes', () => {
    const { tensors } = openModelFolder(exampleFolder([9, 1]));
    const error = thrown(() => tensors.read('a.weight'));
    expect(error.message).toContain('[9,1]');
    expect(error.message).toContain('needs [3,3]');
    tensors.close();
  });

  it('may be a single file, with or without settings beside it', () => {
    const folder = exampleFolder();
    const file = openModelFolder(join(folder, 'model-00001-of-00003.safetensors'));
    expect(file.tensors.names()).toContain('a.weight');
    expect(file.config).toBeDefined();
    file.close();
    const index = openModelFolder(join(folder, 'model.safetensors.index.json'));
    expect(index.tensors.has('ids')).toBe(true);
    index.close();
    rmSync(join(folder, 'config.json'));
    const bare = openModelFolder(folder);
    expect(bare.config).toBeUndefined();
    bare.close();
  });

  it('without weights, with pickles only, or absent is named', () => {
    const folder = temporaryFolder();
    expect(thrown(() => openModelFolder(folder)).message).toContain('neither model.safetensors nor');
    writeFileSync(join(folder, 'pytorch_model.bin'), '');
    expect(thrown(() => openModelFolder(folder)).message).toContain('pytorch_model.bin, a pickle');
    expect(thrown(() => openModelFolder(join(folder, 'none'))).code).toBe('not-found');
  });

  it('with an impossible block size is refused', () => {
    const folder = exampleFolder();
    writeFileSync(join(folder, 'config.json'), '{"quantization_config": {"weight_block_size": [0, 128]}}');
    expect(thrown(() => openModelFolder(folder)).message).toContain('weight_block_size is [0,128]');
  });

  it('cannot be written outside itself, onto a folder, or onto a full disk', () => {
    const folder = temporaryFolder();
    const sink = folderSink(folder);
    expect(thrown(() => sink.file('../x', () => {})).message).toContain('would leave its folder');
    mkdirSync(join(folder, 'taken'));
    expect(thrown(() => sink.file('taken', () => {})).message).toContain('EISDIR');
    const full = folderSink('/dev');
    expect(thrown(() => full.file('full', (write) => write(Buffer.from('x'), 'text'))).message).toContain(
      'disk is full',
    );
  });

  const golden = sharedPath('golden/llama-sharded-bf16');
  it.skipIf(!golden)('of the reference comes back byte for byte (needs ../shared)', () => {
    const model = openModelFolder(golden!);
    const again = temporaryFolder();
    const specs = model.tensors.names().map((name) => model.tensors.info(name));
    writeModelFolder(folderSink(again), {
      config: model.config!,
      generationConfig: model.generationConfig!,
      tensors: specs,
      data: ({ name }) => model.tensors.raw(name),
      maxShardBytes: 16_000,
    });
    for (const name of readdirSync(again)) {
      expect(readFileSync(join(again, name)).equals(readFileSync(join(golden!, name))), name).toBe(true);
    }
    expect(readdirSync(again)).toHaveLength(6);
    model.close();
  });

  it.skipIf(!sharedPath('golden/fp8.safetensors'))('dequantises the golden weight (needs ../shared)', () => {
    const path = sharedPath('golden/fp8.safetensors')!;
    const model = openModelFolder(path);
    expect(model.tensors.names()).not.toContain('weight_scale_inv');
    const file = openSafetensors(path);
    expect(asBytes(model.tensors.read('weight'))).toEqual(file.tensors.get('weight_dequantised')!.read());
    file.close();
    model.close();
  });
});
