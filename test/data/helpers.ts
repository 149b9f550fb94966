import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { Collection } from '../../src/data/collect/index.js';
import type { DataTokenizer, TextDocument } from '../../src/data/types.js';

/** A folder of files that is removed after the test. */
export function tempFolder(files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'train-moe-data-'));
  chmodSync(folder, 0o755);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  return folder;
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = [];
  for await (const item of items) out.push(item);
  return out;
}

export async function texts(collection: Collection): Promise<string[]> {
  return (await all(collection.documents())).map((document) => document.text);
}

export const EOS = 256;
export const BOS = 257;
export const FIM = { beginId: 258, holeId: 259, endId: 260 } as const;

/** One id per byte, so that every expectation can be worked out by hand. Counts its calls. */
export function byteTokenizer(changes: Partial<DataTokenizer> = {}): DataTokenizer & { calls: number } {
  return {
    calls: 0,
    vocabSize: 261,
    eosId: EOS,
    bosId: BOS,
    fingerprint: 'bytes',
    encode(text) {
      this.calls++;
      return Uint32Array.from(Buffer.from(text));
    },
    byteLength: (id) => (id < 256 ? 1 : 0),
    ...changes,
  };
}

export function document(text: string, offset = 0): TextDocument {
  return { text, source: 'memory', offset };
}
