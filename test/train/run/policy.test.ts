import { describe, expect, it } from 'vitest';
import { type RunKind, refuseOthers, settingsToKeep } from '../../../src/train/run/policy.js';

const between = (kind: RunKind, before: object, now: object, content: [object, object] = [{}, {}]) =>
  refuseOthers(
    'runs/x',
    kind,
    { settings: settingsToKeep(kind, before as never), content: content[0] as Record<string, string> },
    { settings: settingsToKeep(kind, now as never), content: content[1] as Record<string, string> },
  );

describe('going on under other settings', () => {
  it.each<[RunKind, object, object]>([
    [
      'sft',
      { out: 'a', device: 'cpu', saveEvery: 1, model: 'a' },
      { out: 'b', device: 'cuda', saveEvery: 9, model: 'b' },
    ],
    [
      'grpo',
      { parallel: 8, completions: 1, evaluateQuestions: 4 },
      { parallel: 9, completions: 0, evaluateQuestions: 0 },
    ],
    ['state', { save: { every: 1 }, train: { accumulate: 1 } }, { save: { every: 2 }, train: { accumulate: 4 } }],
    ['dpo', { data: ['a'], rowsAtOnce: 4, threads: undefined }, { data: ['b', 'c'], rowsAtOnce: 8, threads: 2 }],
  ])('is silent where they only watch it, speed it up or move it (%s)', (kind, before, now) => {
    expect(between(kind, before, now)).toBeUndefined();
  });

  it.each<[RunKind, object, object, string]>([
    ['sft', { epochs: 2 }, { epochs: 3 }, 'It was begun with --epochs 2 (now 3).'],
    ['sft', {}, { steps: 3 }, 'It was begun with no --steps (now 3).'],
    ['grpo', { steps: 9 }, { steps: 4 }, 'It was begun with --steps 9 (now 4).'],
    ['state', { train: { steps: 9 } }, { train: { steps: 10 } }, 'It was begun with --train.steps 9 (now 10).'],
  ])('tells of another end (%s)', (kind, before, now, sentence) => {
    expect(between(kind, before, now)).toBe(sentence);
  });

  it.each<[RunKind, object, object, string]>([
    [
      'grpo',
      { epochs: 2, template: 'zero' },
      { epochs: 3, template: 'chat' },
      '--epochs 2 (now 3), --template zero (now chat), which decide what',
    ],
    ['reward_model', { maxPairs: 7 }, {}, '--max-pairs 7 (now unset), which decides what'],
    ['sft', { stopTokens: [] }, { stopTokens: ['a'] }, '--stop-tokens [] (now ["a"]), which'],
    ['state', { model: { heads: 2 } }, { model: { heads: 4 } }, '--model.heads 2 (now 4), which'],
    ['dpo', { anything: 'new' }, { anything: 'else' }, '--anything new (now else), which'],
  ])('is refused where they decide what it becomes (%s)', (kind, before, now, sentence) => {
    expect(() => between(kind, before, now)).toThrow(`The run in runs/x was begun with ${sentence}`);
  });

  it('takes a setting that did not exist then for what it is when nobody sets it', () => {
    const held = { settings: { rows: 1 } };
    const compare = (now: object) =>
      refuseOthers('runs/x', 'sft', held, { settings: { rows: 1, ...now } }, { rows: 8, newer: 3, saveEvery: 5 });
    expect(compare({ newer: 3 })).toBeUndefined();
    expect(() => compare({ newer: 4 })).toThrow('was begun with --newer 3 (now 4)');
    expect(() => compare({ newer: 3, rows: 8 })).toThrow('was begun with --rows 1 (now 8)');
  });

  it('names six and counts the others', () => {
    const all = (value: number) => Object.fromEntries([...'abcdefgh'].map((name) => [name, value]));
    expect(() => between('sft', all(1), all(2))).toThrow('--f 1 (now 2) and 2 others, which decide what');
  });

  it('is refused with other content; what is not known of either side is not compared', () => {
    const content: [object, object] = [
      { model: '1', text: '2', tokenizer: '3' },
      { model: '4', text: '5', tokenizer: '3' },
    ];
    expect(() => between('sft', {}, {}, content)).toThrow(
      'The run in runs/x was begun with another model and another text: give the same to go on, or --out another folder',
    );
    expect(refuseOthers('runs/x', 'sft', {}, { settings: { rows: 1 }, content: { model: '1' } })).toBeUndefined();
  });
});
