import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { casesFor, shrink } from '../../src/bench/cases.js';
import { jobs } from '../../src/bench/jobs/index.js';
import { configOf, modelShape } from '../../src/bench/model.js';
import { models, ownShapes, sharedShapes } from '../../src/bench/shapes.js';
import { deepseekV3Presets } from '../../src/models/deepseek_v3.js';
import { sharedPath } from '../shared.js';

const path = sharedPath('rivals/shapes.json');

describe.skipIf(!path)(
  `the shapes, compared with those of the rivals${path ? '' : ' (skipped: not laid out here)'}`,
  () => {
    const theirs = JSON.parse(path ? readFileSync(path, 'utf8') : '{}') as Record<string, unknown>;

    it('has the same models', () => {
      expect(models).toEqual(theirs.models);
    });

    it.each(['cpu', 'cuda', 'text'] as const)('has the same %s shapes', (group) => {
      expect(sharedShapes[group]).toEqual(theirs[group]);
    });
  },
);

describe('the shapes', () => {
  it('have a job each, and no name of one twice', () => {
    const known = jobs.map(({ name }) => name as string);
    for (const group of ['cpu', 'cuda', 'text'] as const)
      for (const job of new Set([...Object.keys(sharedShapes[group]), ...Object.keys(ownShapes[group])])) {
        expect(known).toContain(job);
        const key = job as keyof typeof sharedShapes.cpu;
        const names = [...(sharedShapes[group][key] ?? []), ...(ownShapes[group][key] ?? [])].map(({ name }) => name);
        expect(new Set(names).size).toBe(names.length);
      }
  });

  it('say the sizes of a product in its name', () => {
    for (const group of ['cpu', 'cuda'] as const)
      for (const { name, m, n, k, dtype } of sharedShapes[group].gemm!) expect(name).toBe(`${m}x${n}x${k}-${dtype}`);
  });

  it.each(['micro', 'nano', 'mini'] as const)('measure the preset %s', (preset) => {
    const { family, config } = configOf(modelShape(`cpu-${preset}`, false), deepseekV3Presets[preset].context);
    // What only matters to a model that learns: the benchmark scales routed experts by 1, and balances nothing.
    const learning = { routedScale: 1, mtpWeight: 0, sequenceBalance: 0, biasSpeed: 0 };
    expect(family.name).toBe('deepseek-v3');
    expect({ ...(config as object), ...learning }).toEqual({ ...deepseekV3Presets[preset], ...learning });
  });

  it('measure plain attention where a model has no latent one', () => {
    const { family, config } = configOf(modelShape('gpu-2b-dsmoe', false), 2048);
    expect(family.name).toBe('deepseek-moe');
    expect(config).toMatchObject({ hidden: 1280, headSize: 128, experts: 63, active: 7, keyHeads: 10 });
  });
});

describe('the cases', () => {
  const names = [
    { name: 'attention', rows: ['attention_forward', 'attention_backward'] },
    { name: 'copy' },
    { name: 'bpe_train' },
  ] as const;
  const listed = (job: string, shape: string, device: 'cpu' | 'cuda') =>
    casesFor(names, { job, shape, smoke: false }, device).map((c) => `${c.job} ${c.shape.name}${c.own ? ' own' : ''}`);

  it('are chosen by expressions for the job, or a row of it, and the shape', () => {
    expect(listed('backward$', 'f32', 'cpu')).toEqual(['attention b1-h16-s1024-192-128-f32']);
    expect(listed('^bpe', '4096', 'cuda')).toEqual(['bpe_train vocab-4096']);
    expect(listed('nothing', '', 'cpu')).toEqual([]);
  });

  it('differ by device, and tell which no other program has', () => {
    expect(listed('copy', '', 'cpu')).toEqual(['copy 256mib own']);
    expect(listed('copy', '', 'cuda')).toEqual(['copy 4gib']);
  });

  it('shrink for a smoke run, and never grow', () => {
    expect(shrink({ name: '1x8192', m: 1, n: 8192, dtype: 'f32', top_k: 6 })).toEqual({
      name: '1x8192',
      m: 1,
      n: 64,
      dtype: 'f32',
      top_k: 6,
    });
  });
});
