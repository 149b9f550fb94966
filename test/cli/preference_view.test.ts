import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { preferenceView } from '../../src/cli/rl/preference_view.js';
import type { PreferenceFacts, PreferenceScore } from '../../src/rl/preference/index.js';
import type { Output } from '../../src/terminal/style.js';

/** What a pipe gets to see. */
function piped(): { output: Output; text: () => string } {
  let text = '';
  const output = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  return { output: output as unknown as Output, text: () => text };
}

const facts: PreferenceFacts = {
  out: 'runs/rm',
  device: 'cpu',
  deviceReason: undefined,
  threads: 2,
  dtype: 'f32',
  parameters: 5000,
  title: 'a reward model (pairwise)',
  unit: 'pairs',
  train: 80,
  test: 20,
  ties: 3,
  same: 0,
  tooLong: 1,
  template: 'the default template',
  firstStep: 0,
  steps: 5,
};

const score: PreferenceScore = {
  count: 20,
  accuracy: 0.75,
  interval: [0.53, 0.89],
  margin: 1.5,
  loss: 0.5,
  baseline: 0.6,
};

describe('the view of a run on preferences', () => {
  it('says what is trained, what was left out, and how sure the accuracy is', () => {
    const { output, text } = piped();
    const view = preferenceView(output);
    view.show({ kind: 'start', run: facts });
    const metrics = {
      'train/loss': 0.69,
      'rewards/accuracy': 0.5,
      'rewards/margin': 0.1,
      'train/grad_norm': 1,
      'speed/tokens_per_second': 100,
    };
    view.show({ kind: 'step', record: { step: 1, steps: 5, metrics } });
    view.show({ kind: 'evaluation', at: 5, score });
    const end = { step: 5, stopped: false, checkpoint: 'runs/rm/x', seconds: 3, losses: [], before: undefined };
    view.show({ kind: 'end', end: { ...end, after: score } });
    view.done();
    expect(text()).toContain('80 pairs to train on, 20 held out by their prompt; left out: 3 ties, 1 too long');
    expect(text()).toContain('step 1/5  loss 0.6900  right 50%  margin 0.1');
    expect(text()).toContain('20 held-out pairs: right 75% (95% interval 53% to 89%; the longer answer 60%)');
    expect(text()).toContain('model runs/rm/x');
  });
});
