import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { folderSink } from '../../src/hub/byte_sink.js';
import type { TensorSpec } from '../../src/hub/dtype.js';
import { INDEX_NAME, openSharded, readIndex, writeSharded } from '../../src/hub/shards.js';
import { sharedPath } from '../shared.js';
import { memoryFolder, thrown } from './memory.js';
import { temporaryFolder } from './temporary.js';

const specs: TensorSpec[] = [10, 20, 30, 5].map((n, i) => ({ name: `t${i}`, dtype: 'F32', shape: [n] }));
const filled = (spec: TensorSpec) => Buffer.from(new Float32Array(spec.shape[0]!).fill(spec.shape[0]!).buffer);

function written(maxShardBytes: number): string {
  const folder = temporaryFolder();
  writeSharded(folderSink(folder), specs, filled, { maxShardBytes });
  return folder;
}

describe('sharded tensors', () => {
  it('are split in order, each shard within the limit or a single tensor', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(50), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 400 }),
        (sizes, limit) => {
          const all = sizes.map((n, i): TensorSpec => ({ name: `t${i}`, dtype: 'F32', shape: [n] }));
          const folder = memoryFolder();
          const asked: string[] = [];
          writeSharded(
            folder,
            all,
            (spec) => {
              asked.push(spec.name);
              return filled(spec);
            },
            { maxShardBytes: limit },
          );
          expect(asked.sort()).toEqual(all.map((spec) => spec.name).sort());
          const index = folder.files.get(INDEX_NAME);
          if (index === undefined) {
            expect([...folder.files.keys()]).toEqual(['model.safetensors']);
            return;
          }
          const { weight_map: map, metadata } = JSON.parse(index.toString());
          expect(metadata.total_size).toBe(sizes.reduce((a, b) => a + 4 * b, 0));
          const perShard = new Map<string, number[]>();
          for (const [i, n] of sizes.entries()) {
            perShard.set(map[`t${i}`], [...(perShard.get(map[`t${i}`]) ?? []), 4 * n]);
          }
          for (const bytes of perShard.values()) {
            if (bytes.filter((n) => n > 0).length > 1)
              expect(bytes.reduce((a, b) => a + b, 0)).toBeLessThanOrEqual(limit);
          }
        },
      ),
    );
  });

  it('are found again under their names', () => {
    const set = openSharded(written(120));
    expect([...set.tensors.keys()].sort()).toEqual(['t0', 't1', 't2', 't3']);
    for (const spec of specs) expect(Buffer.from(set.tensors.get(spec.name)!.read())).toEqual(filled(spec));
    set.close();
  });

  it('missing from their shard, or in one unasked, are named', () => {
    const folder = written(120);
    const path = join(folder, INDEX_NAME);
    const index = JSON.parse(readFileSync(path, 'utf8'));
    index.weight_map.absent = index.weight_map.t0;
    delete index.weight_map.t1;
    writeFileSync(path, JSON.stringify(index));
    const error = thrown(() => openSharded(folder));
    expect(error.message).toContain('not in their shard: absent (model-00001-of-00003.safetensors)');
    expect(error.message).toContain('t1 (in model-00001-of-00003.safetensors)');
  });

  it('whose shard is gone name the file', () => {
    const folder = written(120);
    rmSync(join(folder, 'model-00002-of-00003.safetensors'));
    const error = thrown(() => openSharded(folder));
    expect(error.code).toBe('not-found');
    expect(error.message).toContain('model-00002-of-00003.safetensors');
  });

  it.each([
    '../secret.safetensors',
    '/etc/x.safetensors',
    'a/b.safetensors',
    'a\\b.safetensors',
    '.safetensors',
    'x.bin',
    '',
  ])('are not looked for at %j', (shard) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, INDEX_NAME), JSON.stringify({ metadata: { a: [1, null] }, weight_map: { t: shard } }));
    expect(thrown(() => openSharded(folder)).message).toContain('plain *.safetensors name');
  });

  it('need a weight_map', () => {
    const path = join(temporaryFolder(), INDEX_NAME);
    writeFileSync(path, '{"metadata": {"total_size": 1, "x": [true, false, null, "s", {"y": -1.5e3}]}}');
    expect(thrown(() => readIndex(path)).message).toContain('no weight_map');
  });

  it.skipIf(!sharedPath('golden/llama-sharded-bf16'))('make the index the reference makes (needs ../shared)', () => {
    const golden = sharedPath('golden/llama-sharded-bf16')!;
    const set = openSharded(golden);
    const map = readIndex(join(golden, INDEX_NAME));
    const byShard = [...set.tensors.values()].sort((a, b) => (map.get(a.name)! < map.get(b.name)! ? -1 : 1));
    const folder = memoryFolder();
    writeSharded(folder, byShard, (spec) => set.tensors.get(spec.name)!.read(), { maxShardBytes: 16_000 });
    for (const [name, bytes] of folder.files) expect(bytes.equals(readFileSync(join(golden, name))), name).toBe(true);
    expect(folder.files.size).toBe(4);
    set.close();
  });
});
