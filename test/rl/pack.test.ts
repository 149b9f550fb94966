import { describe, expect, it } from 'vitest';
import { parametersOf } from '../../src/models/codec.js';
import { cutByRows, pack } from '../../src/rl/pack.js';
import type { Sample } from '../../src/rl/sample.js';
import { forwardPacked, replayOf, score } from '../../src/rl/score.js';
import { device, scope } from '../../src/tensor/index.js';
import { tinyModel } from './tiny.js';

const sample = (prompt: number[], ids: number[]): Sample => ({
  question: { index: 0, prompt: '', ids: prompt },
  ids,
  logProbs: ids.map(() => 0),
  text: '',
  finish: 'length',
});
const samples = [sample([2, 3], [4, 5, 6]), sample([7], [8]), sample([9, 10, 11], [12, 13])];
const options = { device: device('cpu'), temperature: 1, rowsAtOnce: 1000 };

describe('packing', () => {
  it('lays prompts and completions end to end, each last token left out', () => {
    const packed = pack(samples);
    expect([...packed.ids]).toEqual([2, 3, 4, 5, 7, 9, 10, 11, 12]);
    expect([...packed.targets]).toEqual([-100, 4, 5, 6, 8, -100, -100, 12, 13]);
    expect([...packed.documentStart]).toEqual([0, 0, 0, 0, 4, 5, 5, 5, 5]);
    expect([...packed.rows]).toEqual([1, 2, 3, 4, 7, 8]);
    expect([...packed.starts]).toEqual([0, 3, 4, 6]);
  });

  it('cuts by rows, and gives a long sample a part of its own', () => {
    const sizes = (limit: number) => cutByRows(samples, limit).map((part) => part.length);
    expect(sizes(100)).toEqual([3]);
    expect(sizes(5)).toEqual([2, 1]);
    expect(sizes(1)).toEqual([1, 1, 1]);
    expect(cutByRows([], 5)).toEqual([]);
  });
});

describe('scoring', () => {
  it('gives a sample the same bits whatever it is packed with', () => {
    const model = tinyModel('experts');
    const together = score(model, samples, options).logProbs;
    samples.forEach((s, i) => void expect(score(model, [s], options).logProbs[0]).toEqual(together[i]));
    expect(score(model, samples, { ...options, rowsAtOnce: 1 }).logProbs).toEqual(together);
    for (const { tensor } of parametersOf(model)) tensor.dispose();
  });

  it('replays the experts that were chosen, though the routers have changed', () => {
    const model = tinyModel('experts');
    const { routes } = score(model, samples, options, true);
    for (const { path, tensor } of parametersOf(model))
      if (path.endsWith('router')) tensor.write(tensor.read().map((v) => -v));
    const packed = pack(samples);
    const chosen = (replay?: ReturnType<typeof replayOf>) => {
      let seen: Int32Array | undefined;
      scope(
        () => void forwardPacked(model, packed, options, { replay, onRouting: (r) => (seen = r.experts.readInts()) }),
      );
      return [...seen!];
    };
    const before = routes.flatMap((r) => [...r.get(1)!]);
    expect(chosen(replayOf(routes, packed.ids.length, options.device))).toEqual(before);
    expect(chosen()).not.toEqual(before);
    for (const { tensor } of parametersOf(model)) tensor.dispose();
  });
});
