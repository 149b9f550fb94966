import { describe, expect, it } from 'vitest';
import { r1Presets, resolveR1 } from '../../src/recipes/settings.js';

/* Settings of the recipe's stages in the place of the preset's. */

const settingsWith = (settings: Readonly<Record<string, unknown>>) => resolveR1({ settings }).settings;

describe('settings of r1', () => {
  it('replace those of the preset, key by key, and leave it as it is', () => {
    const before = structuredClone(r1Presets.micro);
    const given = {
      zero: { steps: 7, rowsAtOnce: 512 },
      base: { train: { rows: 4 }, model: { layers: 2 } },
      rl2: { preferenceWeight: 0.25 },
      rl1: { reward: ['format'] },
      evaluation: { dtype: 'bf16', questions: 9 },
      chat: '{{ messages[0].content }}',
    };
    const s = settingsWith(given);
    expect(s.zero).toEqual({ ...before!.zero, steps: 7, rowsAtOnce: 512 });
    expect(s.base.train).toEqual({ ...before!.base.train, rows: 4 });
    expect(s.base.model).toEqual({ ...(before!.base.model as object), layers: 2 });
    expect(s.rl2.preferenceWeight).toBe(0.25);
    expect(s.rl1.reward).toEqual(['format']); // lists are replaced whole
    expect(s.evaluation).toEqual({ ...before!.evaluation, dtype: 'bf16', questions: 9 });
    expect(s.chat).toBe('{{ messages[0].content }}');
    expect(s.cold).toEqual(before!.cold);
    expect(r1Presets.micro).toEqual(before);
  });

  it.each([
    [{ zreo: {} }, 'settings.zreo: there is no such setting of r1; did you mean zero?'],
    [
      { anything: {} },
      /^settings\.anything: there is no such setting of r1; there are mixture, base, task, .*distill\.$/,
    ],
    [{ zero: 3 }, 'settings.zero = 3: an object of settings is expected.'],
    [{ chat: {} }, 'settings.chat = {}: a text is expected.'],
    [{ chat: '' }, 'settings.chat = "": a text is expected.'],
    [{ zero: { stepz: 3 } }, /^In settings\.zero: The settings of GRPO have a fault: stepz.*did you mean steps\?$/],
    [{ rl2: { steps: -1 } }, /^In settings\.rl2: The settings of GRPO have a fault: steps = -1/],
    [{ cold: { rows: 1, accumulate: 4 } }, /^In settings\.cold: The settings of SFT contradict/],
    [
      { samples: { batch: 'all' } },
      /^In settings\.samples: The settings of rejection sampling have a fault: batch = "all"/,
    ],
    [{ synthetic: { most: 'x' } }, /^In settings\.synthetic: The settings of synthesis have a fault/],
    [{ rewardModel: { batch: 0 } }, /^In settings\.rewardModel: .*batch = 0/],
    [{ base: { train: { rowz: 4 } } }, /^In settings\.base: .*train\.rowz.*did you mean train\.rows\?$/],
    [{ student: { preset: 'none' } }, /^In settings\.student: .*preset/],
    [{ zero: { out: 'there' } }, 'settings.zero.out = "there": the recipe says this itself.'],
    [{ sft: { data: ['x'] } }, 'settings.sft.data = ["x"]: the recipe says this itself.'],
    [{ base: { device: 'cuda' } }, 'settings.base.device = "cuda": the recipe says this itself.'],
    [
      { mixture: { habits: { spokn: 1 } } },
      'settings.mixture.habits.spokn: there is no such setting of r1; did you mean mixture.habits.spoken?',
    ],
    [{ mixture: { transcripts: {} } }, 'settings.mixture.transcripts = {}: a number is expected, as 110000.'],
    [{ chat: 5 }, 'settings.chat = 5: a text is expected.'],
    [{ evaluation: { questions: 'all' } }, /^In settings\.evaluation: .* fault: questions = "all"/],
    [{ evaluation: { questions: {} } }, /^In settings\.evaluation: .* fault: questions = /],
    [{ evaluation: { samples: 0 } }, /^In settings\.evaluation: .* fault: samples = 0/],
    [{ evaluation: { dtype: 'f64' } }, /^In settings\.evaluation: .* fault: dtype = "f64"/],
    [{ evaluation: { maxTokens: 1.5 } }, /^In settings\.evaluation: .* fault: maxTokens = 1\.5/],
    [{ evaluation: { sample: 2 } }, /^In settings\.evaluation: .* fault: sample: .*did you mean samples\?$/],
    [{ synthetic: { openings: 0 } }, /^In settings\.synthetic: .* fault: openings = 0/],
    [{ base: { data: { sources: ['x'] } } }, 'settings.base.data.sources = ["x"]: the recipe says this itself.'],
    [{ base: { train: { seed: 3 } } }, 'settings.base.train.seed = 3: the recipe says this itself.'],
    [{ synthetic: { seeds: 'x' } }, 'settings.synthetic.seeds = "x": the recipe says this itself.'],
    [{ rl1: { template: 'none' } }, 'settings.rl1.template = "none": the recipe says this itself.'],
    [{ task: { task: 'countdown', taskOptions: {} } }, /transcripts of arith and of no other task, but the task is co/],
  ])('%j is refused before anything runs', (settings, sentence) => {
    expect(() => settingsWith(settings)).toThrow(sentence);
  });
});
