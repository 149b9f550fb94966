import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { canonical, type Finished, type Json, runStage, type StageEvent, stageHash } from '../../src/recipes/stages.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'train-moe-stages-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Three stages, each adding its own number to what it starts from; `ran` notes which of them worked. */
async function chain(numbers: readonly [number, number, number], ran: string[], killIn?: string): Promise<number> {
  const add = (name: string, n: number, from: readonly Finished<number>[]) =>
    runStage(root, {
      name,
      settings: { n },
      inputs: from,
      run: (folder) => {
        ran.push(name);
        writeFileSync(join(folder, 'half'), 'done');
        if (name === killIn) throw new Error('killed');
        return n + (from[0]?.result ?? 0);
      },
    });
  const a = await add('a', numbers[0], []);
  const b = await add('b', numbers[1], [a]);
  return (await add('c', numbers[2], [b])).result;
}

describe('stages', () => {
  it('run once, and are found the next time', async () => {
    const ran: string[] = [];
    expect(await chain([1, 2, 3], ran)).toBe(6);
    expect(await chain([1, 2, 3], ran)).toBe(6);
    expect(ran).toEqual(['a', 'b', 'c']);
  });

  it('run again from the one whose settings changed, and only those', async () => {
    const ran: string[] = [];
    await chain([1, 2, 3], ran);
    expect(await chain([1, 5, 3], ran)).toBe(9);
    expect(ran).toEqual(['a', 'b', 'c', 'b', 'c']);
    await chain([1, 2, 3], ran); // the earlier ones are still there
    expect(ran).toHaveLength(5);
  });

  it.each(['a', 'b', 'c'])('killed in %s, go on there and end the same', async (where) => {
    const ran: string[] = [];
    await expect(chain([1, 2, 3], ran, where)).rejects.toThrow('killed');
    const before = [...ran];
    expect(await chain([1, 2, 3], ran)).toBe(6);
    expect(before.at(-1)).toBe(where);
    expect(ran.slice(before.length)[0]).toBe(where); // done again; those before it are not
    expect(new Set(ran)).toEqual(new Set(['a', 'b', 'c']));
  });

  it('give a stage the folder that it left when it was killed', async () => {
    const seen: boolean[] = [];
    const attempt = (fail: boolean) =>
      runStage(root, {
        name: 's',
        settings: null,
        inputs: [],
        run: (folder) => {
          seen.push(existsSync(join(folder, 'half')));
          writeFileSync(join(folder, 'half'), '');
          if (fail) throw new Error('killed');
          return true;
        },
      });
    await expect(attempt(true)).rejects.toThrow();
    await attempt(false);
    expect(seen).toEqual([false, true]);
  });

  it('do not trust a record that was cut short or belongs to other inputs', async () => {
    const ran: string[] = [];
    await chain([1, 2, 3], ran);
    const folder = readdirSync(root).find((name) => name.startsWith('b-'))!;
    const record = join(root, folder, 'stage.json');
    const whole = readFileSync(record, 'utf8');
    for (const damaged of [whole.slice(0, 20), whole.replace(/"hash": "./, '"hash": "x')]) {
      writeFileSync(record, damaged);
      ran.length = 0;
      expect(await chain([1, 2, 3], ran)).toBe(6);
      expect(ran).toEqual(['b']);
    }
  });

  it('give the same result run and found', async () => {
    const events: StageEvent[] = [];
    const once = () =>
      runStage(root, { name: 's', settings: {}, inputs: [], run: (): Json => ({ b: 1, a: [0.1, null] }) }, (e) =>
        events.push(e),
      );
    const first = await once();
    expect(await once()).toEqual(first);
    expect(events.map((e) => (e.kind === 'finish' ? e.found : e.kind))).toEqual(['begin', false, true]);
  });
});

describe('the hash of a stage', () => {
  const inputs = [
    { name: 'x', hash: '1' },
    { name: 'y', hash: '2' },
  ];
  const hash = stageHash('s', { lr: 1, deep: { a: 1, b: 2 } }, inputs);

  it('does not depend on the order of keys', () => {
    expect(stageHash('s', { deep: { b: 2, a: 1 }, lr: 1 }, inputs)).toBe(hash);
    expect(canonical({ b: [{ d: 1, c: 2 }], a: null })).toBe('{"a":null,"b":[{"c":2,"d":1}]}');
  });

  it('depends on the name, on every setting, and on the inputs with their order', () => {
    const others = [
      stageHash('t', { lr: 1, deep: { a: 1, b: 2 } }, inputs),
      stageHash('s', { lr: 2, deep: { a: 1, b: 2 } }, inputs),
      stageHash('s', { lr: 1, deep: { a: 1, b: 3 } }, inputs),
      stageHash('s', { lr: 1, deep: { a: 1, b: 2 } }, inputs.toReversed()),
      stageHash('s', { lr: 1, deep: { a: 1, b: 2 } }, inputs.slice(1)),
      stageHash('s', { lr: 1, deep: { a: 1, b: 2 } }, [inputs[0]!, { name: 'y', hash: '3' }]),
    ];
    expect(new Set([hash, ...others]).size).toBe(others.length + 1);
  });
});
