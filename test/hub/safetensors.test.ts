import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TrainMoeError } from '../../src/errors.js';
import { folderSink } from '../../src/hub/byte_sink.js';
import { asArray, FILE_DTYPES, type TensorSpec, tensorBytes } from '../../src/hub/dtype.js';
import { openSafetensors, writeSafetensors } from '../../src/hub/safetensors.js';
import { sharedPath } from '../shared.js';
import { collect, memorySource, thrown } from './memory.js';
import { temporaryFolder } from './temporary.js';

/** A file with any header text in front of `data` bytes of zeros. */
function fileOf(header: string, data = 0): Buffer {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(data)]);
}

const openBytes = (bytes: Uint8Array) => openSafetensors('memory.safetensors', () => memorySource(bytes));

const tensorArbitrary = fc
  .record({
    name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom(...FILE_DTYPES),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
  })
  .chain((spec) => {
    const length = tensorBytes(spec.dtype, spec.shape)!;
    return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => ({ ...spec, bytes }));
  });
const tensorsArbitrary = fc.uniqueArray(tensorArbitrary, { selector: (tensor) => tensor.name, maxLength: 6 });
const metadataArbitrary = fc.dictionary(fc.string(), fc.string({ unit: 'grapheme' }), { maxKeys: 3 });

function encode(tensors: readonly (TensorSpec & { bytes: Uint8Array })[], metadata: Record<string, string> = {}) {
  const bytes = new Map(tensors.map((tensor) => [tensor.name, tensor.bytes]));
  return collect((sink) => writeSafetensors(sink, tensors, (spec) => bytes.get(spec.name)!, metadata));
}

describe('a safetensors file', () => {
  it('gives back every tensor and all metadata that were saved', () => {
    fc.assert(
      fc.property(tensorsArbitrary, metadataArbitrary, (tensors, metadata) => {
        const file = openBytes(encode(tensors, metadata));
        expect(Object.fromEntries(file.metadata)).toEqual({ ...metadata });
        expect([...file.tensors.keys()].sort()).toEqual(tensors.map((tensor) => tensor.name).sort());
        for (const { name, dtype, shape, bytes } of tensors) {
          const stored = file.tensors.get(name)!;
          expect({ dtype: stored.dtype, shape: stored.shape }).toEqual({ dtype, shape });
          expect(stored.read()).toEqual(bytes);
          expect(stored.byteOffset % asArray(dtype, new Uint8Array(0)).BYTES_PER_ELEMENT).toBe(0);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has bytes that do not depend on the order in which tensors and metadata were given', () => {
    fc.assert(
      fc.property(tensorsArbitrary, (tensors) => {
        const backwards = encode([...tensors].reverse(), { b: '2', a: '1' });
        expect(backwards.equals(encode(tensors, { a: '1', b: '2' }))).toBe(true);
      }),
    );
  });

  it('is written tensor by tensor, in pieces if the data comes so', () => {
    const specs: TensorSpec[] = ['a', 'b'].map((name) => ({ name, dtype: 'F32', shape: [2, 2] }));
    const events: string[] = [];
    writeSafetensors(
      (bytes, part) => events.push(`${part}:${bytes.length}`),
      specs,
      function* pieces({ name }) {
        events.push(`ask ${name}`);
        yield new Uint8Array(10);
        yield new Uint8Array(6);
      },
    );
    expect(events.slice(1)).toEqual(['ask a', 'a:10', 'a:6', 'ask b', 'b:10', 'b:6']);
  });

  it('reads only the header until a tensor is asked for, and fills a given array', () => {
    const source = memorySource(
      encode([{ name: 'a', dtype: 'U8', shape: [1000], bytes: new Uint8Array(1000).fill(7) }]),
    );
    const tensor = openSafetensors('memory', () => source).tensors.get('a')!;
    expect(source.readBytes).toBe(tensor.byteOffset);
    const into = new Uint8Array(1000);
    expect(tensor.read(into)).toBe(into);
    expect(into[999]).toBe(7);
    expect(thrown(() => tensor.read(new Uint8Array(999))).message).toContain('999 bytes to fill');
  });

  it.each([
    ['too little data', () => new Uint8Array(15), '1 bytes too few'],
    ['too much data', () => new Uint8Array(17), 'too many bytes'],
  ])('is refused at the writer with %s', (_, data, sentence) => {
    const error = thrown(() => writeSafetensors(() => {}, [{ name: 'w', dtype: 'F32', shape: [4] }], data));
    expect(error.code).toBe('bad-argument');
    expect(error.message).toContain(sentence);
  });

  it.each([
    ['the same name twice', ['a', 'a'], [1]],
    ['the reserved name', ['__metadata__'], [1]],
    ['a negative extent', ['a'], [-1]],
    ['a fractional extent', ['a'], [1.5]],
    ['a product above 2^53', ['a'], [2 ** 30, 2 ** 30]],
  ])('is refused at the writer with %s', (_, names, shape) => {
    const specs = names.map((name): TensorSpec => ({ name, dtype: 'U8', shape }));
    expect(
      thrown(() =>
        writeSafetensors(
          () => {},
          specs,
          () => new Uint8Array(1),
        ),
      ).code,
    ).toBe('bad-argument');
  });
});

describe('a hostile safetensors file', () => {
  const tensor = (fields: string, data = 0) => fileOf(`{"t":{${fields}}}`, data);
  const cases: readonly (readonly [string, Buffer, string])[] = [
    ['an empty file', Buffer.alloc(0), '0 bytes long'],
    ['only half a length', Buffer.alloc(7), '7 bytes long'],
    ['a length beyond the file', Buffer.from([200, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]), 'header of 200 bytes'],
    ['a length of 2^64 - 1', Buffer.alloc(64, 0xff), 'header of 18446744073709551615 bytes'],
    ['an empty header', fileOf(''), 'does not begin with "{"'],
    ['a header that begins with a space', fileOf(' {}'), 'does not begin with "{"'],
    ['a byte order mark', fileOf('\ufeff{}'), 'does not begin with "{"'],
    ['an array', fileOf('[]'), 'does not begin with "{"'],
    ['a header that ends after a colon', fileOf('{"a":'), 'found the end'],
    ['JSON after the header', fileOf('{}{}'), 'where the end was expected'],
    ['a trailing comma', fileOf('{"t":1,}'), 'expected'],
    ['a tensor that is a number', fileOf('{"t":1}'), 'where "{" was expected'],
    ['an unknown element type', tensor('"dtype":"F33","shape":[],"data_offsets":[0,4]', 4), 'element type "F33"'],
    [
      'an inherited word as element type',
      tensor('"dtype":"toString","shape":[],"data_offsets":[0,4]', 4),
      '"toString"',
    ],
    ['a missing shape', tensor('"dtype":"F32","data_offsets":[0,4]', 4), 'lacks one of'],
    ['an unknown field', tensor('"dtype":"U8","shape":[],"data_offsets":[0,1],"strides":[1]', 1), '"strides"'],
    ['a field given twice', tensor('"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]', 1), 'comes twice'],
    ['three offsets', tensor('"dtype":"U8","shape":[1],"data_offsets":[0,1,1]', 1), '3 data offsets'],
    ['a negative offset', tensor('"dtype":"U8","shape":[1],"data_offsets":[-1,0]', 1), 'offset of tensor "t" is -1'],
    ['offsets that run backwards', tensor('"dtype":"U8","shape":[1],"data_offsets":[1,0]', 1), 'hold -1'],
    ['a negative extent', tensor('"dtype":"U8","shape":[-1],"data_offsets":[0,1]', 1), 'extent of tensor "t" is -1'],
    ['minus zero', tensor('"dtype":"U8","shape":[-0],"data_offsets":[0,0]'), 'is -0'],
    ['a fractional extent', tensor('"dtype":"U8","shape":[1.0],"data_offsets":[0,1]', 1), 'is 1.0'],
    ['an exponent', tensor('"dtype":"U8","shape":[1e0],"data_offsets":[0,1]', 1), 'is 1e0'],
    ['an extent as text', tensor('"dtype":"U8","shape":["1"],"data_offsets":[0,1]', 1), 'where a number'],
    ['an extent of 2^53', tensor('"dtype":"U8","shape":[9007199254740992],"data_offsets":[0,1]', 1), '2^53 - 1'],
    [
      'a product that wraps to 4 in 64 bits',
      tensor('"dtype":"F32","shape":[4294967296,4294967296,1],"data_offsets":[0,4]', 4),
      'more than 2^53',
    ],
    ['a tensor past the end', tensor('"dtype":"U8","shape":[100],"data_offsets":[0,100]', 99), 'cut short'],
    ['a wrong size', tensor('"dtype":"F32","shape":[2],"data_offsets":[0,4]', 4), 'needs 8 bytes'],
    ['a byte after the last tensor', tensor('"dtype":"U8","shape":[1],"data_offsets":[0,1]', 2), 'belong to no tensor'],
    ['data without a tensor', fileOf('{}', 1), 'belong to no tensor'],
    ['a hole at the start', tensor('"dtype":"U8","shape":[1],"data_offsets":[1,2]', 2), 'leaves a hole after'],
    [
      'a hole between tensors',
      fileOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}',
        3,
      ),
      'tensor "b" begins at byte 2 and leaves a hole after tensor "a"',
    ],
    [
      'overlapping tensors',
      fileOf(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
        3,
      ),
      'tensor "b" begins at byte 1 and overlaps tensor "a"',
    ],
    [
      'two tensors of one name',
      fileOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        2,
      ),
      '"a" comes twice',
    ],
    [
      'two tensors of one name, one written with an escape',
      fileOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        2,
      ),
      '"a" comes twice',
    ],
    ['metadata that is not text', fileOf('{"__metadata__":{"a":1}}'), 'where a string'],
    ['metadata given twice', fileOf('{"__metadata__":{},"__metadata__":{}}'), 'comes twice'],
    ['a control character in a name', fileOf('{"a\nb":{}}'), 'control character'],
    ['a bad escape', fileOf('{"\\x":{}}'), 'bad escape'],
    ['a string without end', fileOf('{"abc'), 'does not end'],
    ['an escape at the very end', fileOf('{"abc\\'), 'does not end'],
    ['nesting without end', fileOf(`{"t":${'['.repeat(100_000)}`), 'where "{" was expected'],
  ];

  it.each(cases)('with %s is refused with a sentence', (_, bytes, sentence) => {
    const error = thrown(() => openBytes(bytes));
    expect(error.code).toBe('bad-data');
    expect(error.message).toContain('memory.safetensors');
    expect(error.message).toContain(sentence);
  });

  it('with bytes that are not UTF-8 is refused', () => {
    const bytes = fileOf('{"a?":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', 1);
    bytes[bytes.indexOf('?')] = 0xff;
    expect(thrown(() => openBytes(bytes)).message).toContain('not valid UTF-8');
  });

  it('with a header above 100 MB is refused before it is read', () => {
    const source = { ...memorySource(Buffer.alloc(8)), size: 1e12 };
    source.read = (_offset, into) => Buffer.from(into.buffer, into.byteOffset, 8).writeBigUInt64LE(100_000_001n);
    expect(thrown(() => openSafetensors('huge', () => source)).message).toContain('at most 100000000');
  });

  it('may hold tensors without elements, scalars and trailing spaces, as the format allows', () => {
    const entries = [
      '"empty":{"dtype":"F32","shape":[0,7],"data_offsets":[8,8]}',
      '"scalar":{"data_offsets":[0,8],"shape":[],"dtype":"F64"}',
      '"last":{"dtype":"F32","shape":[9007199254740991,0],"data_offsets":[8,8]}',
    ];
    const file = openBytes(fileOf(`{${entries.join(' , ')}}   \n`, 8));
    expect(file.tensors.get('empty')!.read()).toHaveLength(0);
    expect([...asArray('F64', file.tensors.get('scalar')!.read())]).toEqual([0]);
  });

  it('never crashes the reader nor makes it read more than the file, however it was changed', () => {
    const change = fc.oneof(
      {
        arbitrary: fc.record({ kind: fc.constant('set' as const), at: fc.nat(), value: fc.nat(255) }),
        weight: 8,
      },
      fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), value: fc.nat(40) }),
      fc.record({
        kind: fc.constant('insert' as const),
        at: fc.nat(),
        value: fc.constantFrom('"', '{', '}', '[', ']', ',', ':', '0', '9', '-', 'e', '\\', '\u0000', '__metadata__'),
      }),
    );
    const outcomes = { read: 0, refused: 0 };
    fc.assert(
      fc.property(tensorsArbitrary, fc.array(change, { minLength: 1, maxLength: 3 }), (tensors, changes) => {
        let bytes = encode(tensors, { format: 'pt' });
        for (const { kind, at, value } of changes) {
          // Half of all changes fall into the header, where they matter.
          const place = at % (at % 2 === 0 ? bytes.length : Math.min(bytes.length, 300));
          if (kind === 'set') bytes[place] = value;
          else if (kind === 'cut') bytes = Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1 + value)]);
          else bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from(value), bytes.subarray(place)]);
          if (bytes.length === 0) break;
        }
        const source = memorySource(bytes);
        try {
          const file = openSafetensors('memory', () => source);
          for (const tensor of file.tensors.values()) expect(tensor.read()).toHaveLength(tensor.byteLength);
          outcomes.read++;
        } catch (error) {
          if (!(error instanceof TrainMoeError)) throw error;
          expect(error.code).toBe('bad-data');
          outcomes.refused++;
        }
        expect(source.readBytes).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 3000 },
    );
    // Both ends are reached, so that the property is not empty.
    expect(outcomes.read).toBeGreaterThan(50);
    expect(outcomes.refused).toBeGreaterThan(50);
  });
});

describe('a safetensors file on the disk', () => {
  it('is read by position, also after other reads, and says when it was cut meanwhile or closed', () => {
    const folder = temporaryFolder();
    const path = join(folder, 'a.safetensors');
    const tensors = ['a', 'b'].map((name, i) => ({
      name,
      dtype: 'U8' as const,
      shape: [4],
      bytes: new Uint8Array(4).fill(i + 1),
    }));
    folderSink(folder).file('a.safetensors', (sink) => sink(encode(tensors), 'all'));
    const file = openSafetensors(path);
    expect([...file.tensors.get('b')!.read(), ...file.tensors.get('a')!.read()]).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
    truncateSync(path, file.tensors.get('b')!.byteOffset + 1);
    expect(thrown(() => file.tensors.get('b')!.read()).message).toContain('changed it while it was read');
    file.close();
    expect(thrown(() => file.tensors.get('a')!.read()).code).toBe('bad-argument');
  });

  it('that is missing, or a folder, is named', () => {
    const folder = temporaryFolder();
    expect(thrown(() => openSafetensors(join(folder, 'none.safetensors'))).message).toContain('none.safetensors');
    expect(thrown(() => openSafetensors(folder)).message).toContain('not a regular file');
    expect(thrown(() => openSafetensors(join(folder, 'x'.repeat(300)))).code).toBe('io');
    writeFileSync(join(folder, 'text.safetensors'), 'this is some text, not a tensor file');
    expect(thrown(() => openSafetensors(join(folder, 'text.safetensors'))).code).toBe('bad-data');
  });

  const golden = ['fp8.safetensors', 'grpo.safetensors', 'adamw.safetensors', 'deepseek-v3/model.safetensors'];
  it.skipIf(!sharedPath('golden')).each(golden)(
    'written again from %s equals the reference writer (needs ../shared)',
    (name) => {
      const path = sharedPath(`golden/${name}`)!;
      const file = openSafetensors(path);
      const again = collect((sink) =>
        writeSafetensors(
          sink,
          [...file.tensors.values()].reverse(),
          (spec) => file.tensors.get(spec.name)!.read(),
          Object.fromEntries(file.metadata),
        ),
      );
      file.close();
      expect(again.equals(readFileSync(path))).toBe(true);
    },
  );
});
