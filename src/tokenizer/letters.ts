import { TrainMoeError } from '../errors.js';

/**
 * The byte letters of GPT-2: `tokenizer.json` spells a token's bytes as printable characters. Printable Latin-1 bytes
 * stand for themselves, the others are U+0100, U+0101, ... in order.
 */
const LETTERS: readonly string[] = (() => {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  let hidden = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : hidden++));
})();

const BYTES: ReadonlyMap<number, number> = new Map(LETTERS.map((letter, byte) => [letter.charCodeAt(0), byte]));

/** All bytes in the order of their letters' code points: the order in which training numbers them. */
export const ALPHABET: readonly number[] = LETTERS.map((_, byte) => byte).sort(
  (a, b) => LETTERS[a]!.charCodeAt(0) - LETTERS[b]!.charCodeAt(0),
);

/** The letters of these bytes. */
export function lettersOf(bytes: Uint8Array): string {
  let out = '';
  for (const byte of bytes) out += LETTERS[byte]!;
  return out;
}

/** The bytes these letters stand for, or undefined if a character is no byte letter. */
export function tryBytesOf(letters: string): Uint8Array | undefined {
  const out = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) {
    const byte = BYTES.get(letters.charCodeAt(i));
    if (byte === undefined) return undefined;
    out[i] = byte;
  }
  return out;
}

/** The bytes these letters stand for. Throws a `TrainMoeError` on any other character; `where` begins its sentence. */
export function bytesOfLetters(letters: string, where: string): Uint8Array {
  const bytes = tryBytesOf(letters);
  if (bytes) return bytes;
  throw new TrainMoeError(
    'bad-data',
    `${where}: the token ${JSON.stringify(letters)} is not written in byte letters; only byte-level BPE vocabularies can be read.`,
  );
}
