import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openFile } from '../../src/hub/byte_source.js';
import { openSafetensors } from '../../src/hub/safetensors.js';
import { openMapped } from '../../src/models/mapped_file.js';
import { sharedPath } from '../shared.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-mapped-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'bytes');
const bytes = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 31 + (i >> 8)) & 255);
writeFileSync(path, bytes);

describe('a mapped file', () => {
  it.each([
    [0, 0],
    [0, 20_000],
    [1, 1],
    [4095, 2],
    [4096, 4096],
    [12_345, 7655],
  ])('shows the bytes from %i on, %i of them', (offset, length) => {
    const source = openMapped(path);
    expect(source.view!(offset, length)).toEqual(bytes.subarray(offset, offset + length));
    source.close();
  });

  it('outlives its source, and writing to it leaves the file as it is', () => {
    const source = openMapped(path);
    const view = source.view!(100, 50);
    source.close();
    view.fill(7);
    expect(view[49]).toBe(7);
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes);
  });

  it('that became shorter, or is gone, is refused in a sentence', () => {
    const short = join(folder, 'short');
    writeFileSync(short, bytes);
    const source = openMapped(short);
    truncateSync(short, 10_000);
    expect(() => source.view!(9000, 1001)).toThrow(
      `Cannot map bytes 9000 to 10001 of ${short}, which had 20000 when it was opened: the file has become shorter.`,
    );
    rmSync(short);
    expect(() => source.view!(0, 10)).toThrow('No such file');
    source.close();
    expect(() => openMapped(short)).toThrow(expect.objectContaining({ code: 'not-found' }));
  });

  const golden = sharedPath('golden');
  it.skipIf(!golden)('gives the tensors of a model (skipped where the shared goldens are not laid out)', () => {
    const file = join(golden!, 'deepseek-v3', 'model.safetensors');
    const [mapped, read] = [openSafetensors(file, openMapped), openSafetensors(file, openFile)];
    for (const [name, tensor] of read.tensors)
      expect(Buffer.compare(mapped.tensors.get(name)!.read(), tensor.read()), name).toBe(0);
    mapped.close();
    read.close();
  });
});
