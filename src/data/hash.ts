import { createHash } from 'node:crypto';
import type { TextDocument } from './types.js';

/** Documents are not changed in place, so a text's hash can be kept with its object for the stages that follow. */
const known = new WeakMap<TextDocument, Buffer>();

/** SHA-256 of the text's UTF-8 bytes. */
export function contentHash(document: TextDocument): Buffer {
  let hash = known.get(document);
  if (hash === undefined) {
    hash = createHash('sha256').update(document.text, 'utf8').digest();
    known.set(document, hash);
  }
  return hash;
}
