import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { closing } from '../../src/cli/recipes/closing.js';
import type { R1End } from '../../src/recipes/rows.js';
import { styleFor } from '../../src/terminal/style.js';
import { rowsIn } from '../recipes/row.js';

const folder = mkdtempSync(join(tmpdir(), 'train-moe-closing-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const row = rowsIn(folder);

const plain = styleFor(process.stdout, { NO_COLOR: '1' });
const text = (end: Partial<R1End>) =>
  closing({ out: 'runs/r1', stopped: false, rows: [], seconds: 75, ...end }, 100, plain).join('\n');

describe('the end of a recipe', () => {
  const shown = text({
    rows: [row('base', ' 3', false), row('zero', '<think>1+1=2</think>\n<answer>2</answer>', true)],
  });

  it('shows the curves of the loss and the rewards', () => {
    for (const title of ['Loss of base', 'Reward of base', 'Reward of zero']) expect(shown).toContain(title);
    expect(shown).not.toContain('Loss of zero');
  });

  it('shows how each model answers one question, and whether that was right', () => {
    expect(shown).toMatch(
      /One answer of each to: What is 1 \+ 1\?\n\nmodel +right +answer\nbase +no +3\nzero +yes +<think>1\+1=2<\/think> \/ <answer>2</,
    );
  });

  it('shows the beginning and the end of a long answer', () => {
    const long = text({ rows: [row('base', `first ${'step '.repeat(100)}last`, true)] });
    expect(long).toMatch(/yes +first step [a-z ]+ … [a-z ]+ last\n/);
    expect(Math.max(...long.split('\n').map((line) => line.length))).toBeLessThan(200);
  });

  it('shows every model with its figures, the report, and what to try next', () => {
    expect(shown).toMatch(/zero +25% +13% +50% +100% +12\.5 +1m 01s/);
    expect(shown).toContain(`report ${join('runs/r1', 'report.html')}`);
    expect(shown).toContain(`npx train-moe generate --model ${join(folder, 'zero')} "What is 1 + 1?"`);
  });

  it('of a recipe that was stopped says how to go on', () => {
    expect(text({ stopped: true })).toContain('run the same command to go on');
  });
});
