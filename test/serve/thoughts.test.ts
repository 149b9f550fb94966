import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Thoughts } from '../../src/serve/thoughts.js';

/** What an answer parts into, given in pieces. */
function parted(pieces: readonly string[], inside = false) {
  const thoughts = new Thoughts(inside);
  const parts = pieces.map((piece, i) => thoughts.push(piece, i === pieces.length - 1));
  return {
    reasoning: parts.map((part) => part.reasoning).join(''),
    content: parts.map((part) => part.content).join(''),
    parts,
  };
}

describe('thoughts', () => {
  it.each([
    ['<think>a b</think>\n\nc', false, 'a b', 'c'],
    ['\n<think>a</think>', false, 'a', ''],
    ['a</think> b', true, 'a', 'b'],
    ['no end of thought', true, 'no end of thought', ''],
    ['plain', false, '', 'plain'],
    ['<thin', false, '', '<thin'],
    ['first <think>later</think>', false, '', 'first <think>later</think>'],
    ['<think>a</think>b</think>', false, 'a', 'b</think>'],
    ['', false, '', ''],
  ])('%j, begun inside: %j', (text, inside, reasoning, content) => {
    expect(parted([text], inside)).toMatchObject({ reasoning, content });
  });

  it('are the same however the answer is cut into pieces', () => {
    const texts = fc.constantFrom(
      '<think>some <b> thought</think> said',
      'said <think>',
      '<think></think>',
      ' <think>x',
    );
    const cuts = fc.array(fc.nat(40), { maxLength: 8 });
    fc.assert(
      fc.property(texts, cuts, fc.boolean(), (text, at, inside) => {
        const ends = [...new Set([...at.filter((n) => n < text.length), text.length])].sort((a, b) => a - b);
        const pieces = ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end));
        const { reasoning, content } = parted([text], inside);
        expect(parted(pieces, inside)).toMatchObject({ reasoning, content });
      }),
    );
  });

  it('are told as soon as they are clear', () => {
    const { parts } = parted(['<thi', 'nk>one', ' two</th', 'ink>\n', 'three', '']);
    expect(parts).toEqual([
      { reasoning: '', content: '' },
      { reasoning: 'one', content: '' },
      { reasoning: ' two', content: '' },
      { reasoning: '', content: '' },
      { reasoning: '', content: 'three' },
      { reasoning: '', content: '' },
    ]);
  });
});
