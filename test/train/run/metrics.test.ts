import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openMetrics } from '../../../src/train/run/metrics.js';
import { thrown } from '../../hub/memory.js';
import { temporaryFolder } from '../../hub/temporary.js';

const records = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

describe('the metrics file', () => {
  it('holds one JSON object a line, each there as soon as it is written', () => {
    const path = join(temporaryFolder(), 'metrics.jsonl');
    const metrics = openMetrics(path);
    metrics.write({ step: 1, loss: 2.5, note: 'line\nbreak' });
    expect(records(path)).toEqual([{ step: 1, loss: 2.5, note: 'line\nbreak' }]);
    metrics.write({ step: 2, loss: Number.NaN, best: Number.NEGATIVE_INFINITY, inner: [Number.POSITIVE_INFINITY] });
    metrics.sync();
    expect(records(path)[1]).toEqual({ step: 2, loss: 'NaN', best: '-Infinity', inner: ['Infinity'] });
    metrics.close();
    metrics.close();
    expect(thrown(() => metrics.write({ step: 3 })).message).toContain(path);
  });

  it('begins anew for a new run', () => {
    const path = join(temporaryFolder(), 'metrics.jsonl');
    writeFileSync(path, '{"step": 5}\n');
    openMetrics(path).close();
    expect(records(path)).toEqual([]);
  });

  it('loses the records past the resumed step and what a crash cut short, and nothing else', () => {
    const folder = temporaryFolder();
    const path = join(folder, 'metrics.jsonl');
    const first = openMetrics(path);
    for (const step of [1, 2, 2, 3, 4]) first.write({ step, text: 'x'.repeat(step) });
    first.close();
    appendFileSync(path, '{"step": 1, "torn": ');
    const second = openMetrics(path, { afterStep: 2 });
    second.write({ step: 3, again: true });
    second.close();
    expect(records(path).map(({ step }) => step)).toEqual([1, 2, 2, 3]);
    expect(records(path)[3].again).toBe(true);
    expect(readdirSync(folder)).toEqual(['metrics.jsonl']);
  });

  it('drops a torn line even if it happens to be a whole object, and damaged lines within', () => {
    const path = join(temporaryFolder(), 'metrics.jsonl');
    writeFileSync(path, '{"step": 1}\nnull\n\u0000\u0000\n{"nostep": 1}\n{"step": 2}\n{"step": 3}');
    openMetrics(path, { afterStep: 9 }).close();
    expect(records(path)).toEqual([{ step: 1 }, { step: 2 }]);
  });

  it('is cut rightly when lines cross the pieces in which it is read', () => {
    const path = join(temporaryFolder(), 'metrics.jsonl');
    const lines = Array.from({ length: 4000 }, (_, step) => JSON.stringify({ step, text: 'é'.repeat(step % 1000) }));
    writeFileSync(path, `${lines.join('\n')}\n`);
    openMetrics(path, { afterStep: 3500 }).close();
    expect(readFileSync(path, 'utf8')).toBe(`${lines.slice(0, 3501).join('\n')}\n`);
  });

  it('of a resumed run that has none yet is made', () => {
    const path = join(temporaryFolder(), 'metrics.jsonl');
    openMetrics(path, { afterStep: 2 }).close();
    expect(records(path)).toEqual([]);
  });

  it('that cannot be opened is named', () => {
    expect(thrown(() => openMetrics('/nowhere/metrics.jsonl')).message).toContain('/nowhere/metrics.jsonl');
    const full = openMetrics('/dev/full', undefined);
    expect(thrown(() => full.write({ step: 1 })).message).toContain('disk is full');
  });
});
