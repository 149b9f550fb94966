import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Engine } from '../../src/generate/index.js';
import { openModelFolder } from '../../src/hub/folder.js';
import { type ForwardInputs, forward } from '../../src/models/forward.js';
import { saveModel } from '../../src/models/save.js';
import { device } from '../../src/tensor/index.js';
import { sharedPath } from '../shared.js';
import { dispose, FAMILIES, goldenCases, largestGradient, maxError, openGolden, runGolden } from './golden.js';

// Fixtures computed with Hugging Face transformers in float64; tolerances of their README, never looser.
const root = sharedPath('golden');
const out = mkdtempSync(join(tmpdir(), 'train-moe-golden-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));
const LOGITS = 2e-5;
const LOSS = 1e-5;
const GRADIENTS = 3e-4;

/** Experts in ascending order with their weights, as the goldens store them. */
function ascending(experts: Int32Array, weights: Float32Array, k: number): { experts: number[]; weights: number[] } {
  const out = { experts: [] as number[], weights: [] as number[] };
  for (let t = 0; t < experts.length; t += k) {
    const order = Array.from({ length: k }, (_, i) => t + i).sort((a, b) => experts[a]! - experts[b]!);
    for (const i of order) {
      out.experts.push(experts[i]!);
      out.weights.push(weights[i]!);
    }
  }
  return out;
}

/** XLNet's arguments for the word behind these: a place of any word, which nobody sees, is the one target. */
function nextWord(ids: readonly number[]): ForwardInputs {
  const length = ids.length + 1;
  const last = (_: unknown, i: number) => (i % length === length - 1 ? 1 : 0);
  return {
    shape: [1, length],
    inputIds: Int32Array.of(...ids, 0),
    permMask: Int32Array.from({ length: length * length }, last),
    targetMapping: Int32Array.from({ length }, last),
  };
}

describe.skipIf(!root)('parity with transformers (skipped where the shared goldens are not laid out)', () => {
  for (const name of root ? goldenCases(root, FAMILIES) : []) {
    describe(name, () => {
      const folder = join(root!, name);
      const golden = openGolden(folder);
      const { model, result } = runGolden(folder, golden);

      afterAll(() => dispose(model));

      it('gives the same logits, hidden states and loss', () => {
        expect(maxError(result.logits, golden.floats('logits'))).toBeLessThan(LOGITS);
        for (const [i, hidden] of result.hidden.entries())
          expect(maxError(hidden, golden.floats(`hidden.${i}`)), `hidden ${i}`).toBeLessThan(LOGITS);
        expect(Math.abs(result.loss! - golden.floats('loss')[0]!)).toBeLessThan(LOSS);
      });

      it('chooses the same experts with the same weights', () => {
        for (const stored of golden.names().filter((n) => n.startsWith('experts.'))) {
          const layer = Number(stored.split('.')[1]);
          const [rows, length, k] = golden.shape(stored) as [number, number, number];
          const full = result.experts.get(layer)!.length / rows / k;
          const mine = ascending(result.experts.get(layer)!, result.expertWeights.get(layer)!, k);
          const keep = <T>(values: T[]) => values.filter((_, i) => Math.floor(i / k) % full < length);
          expect(keep(mine.experts)).toEqual([...golden.ints(stored)]);
          expect(maxError(keep(mine.weights), golden.floats(`expert_weights.${layer}`))).toBeLessThan(LOGITS);
        }
      });

      it('gives every parameter the same gradient', () => {
        const names = golden.names().filter((n) => n.startsWith('grad.'));
        const largest = largestGradient(golden);
        for (const stored of names) {
          const mine = result.gradients!.get(stored.slice('grad.'.length));
          expect(mine, stored).toBeDefined();
          expect(maxError(mine!.values, golden.floats(stored), 1e-3 * largest), stored).toBeLessThan(GRADIENTS);
        }
      });

      it('is written with the tensors it came with, to the bit', () => {
        const saved = join(out, name);
        saveModel(saved, model, { dtype: name.endsWith('bf16') ? 'bf16' : 'f32' });
        const [before, after] = [openModelFolder(folder), openModelFolder(saved)];
        const names = [...after.tensors.names()];
        const stored = (tensor: string) =>
          [tensor, ...(model.family.oldNames?.(tensor) ?? [])].find((known) => before.tensors.has(known))!;
        for (const tensor of names)
          expect(after.tensors.read(tensor), tensor).toEqual(before.tensors.read(stored(tensor)));
        // Older files repeat tied weights and hold tables that are computed.
        if (!/hub-names|mtp/.test(name)) expect(names.toSorted()).toEqual([...before.tensors.names()].toSorted());
        for (const opened of [before, after]) opened.close();
      });

      const relation = model.family.encoder?.relationNames?.logits;
      if (relation && golden.has(relation))
        it('judges pairs of sentences alike', () => {
          expect(maxError(result.relationLogits!, golden.floats(relation))).toBeLessThan(LOGITS);
        });

      if (golden.has('new_mems.0'))
        it('remembers the same', () => {
          for (const [i, memory] of result.newMems!.entries())
            expect(maxError(memory, golden.floats(`new_mems.${i}`)), `layer ${i}`).toBeLessThan(LOGITS);
        });

      if (golden.has('previous.input_ids'))
        it('gives the memory that the golden was computed with', () => {
          const shape = golden.shape('previous.input_ids') as [number, number];
          const earlier = forward(model, { shape, inputIds: golden.ints('previous.input_ids') }, device('cpu'));
          for (const [i, memory] of earlier.newMems!.entries())
            expect(maxError(memory, golden.floats(`mems.${i}`)), `layer ${i}`).toBeLessThan(LOGITS);
        });

      if (golden.has('greedy') && model.family.recurrence)
        it('continues greedily with the same tokens through the query stream', () => {
          const ids = [...golden.ints('greedy_prompt')];
          for (const [i, expected] of golden.ints('greedy').entries()) {
            const { logits } = forward(model, nextWord(ids), device('cpu'));
            const width = logits.length;
            expect(maxError(logits, golden.floats('greedy_logits').subarray(i * width, (i + 1) * width))).toBeLessThan(
              LOGITS,
            );
            expect(logits.indexOf(Math.max(...logits))).toBe(expected);
            ids.push(expected);
          }
        });
      else if (golden.has('greedy'))
        it('continues greedily with the same tokens through the cache', () => {
          const engine = new Engine(model, { cacheTokens: 256, pageSize: 4, maxBatch: 4 });
          const completions = engine.generate([[...golden.ints('greedy_prompt')]], { temperature: 0, maxTokens: 24 });
          expect(completions[0]![0]!.ids).toEqual([...golden.ints('greedy')]);
          engine.dispose();
        });

      if (golden.has('mtp_logits'))
        it('predicts the token after next', () => {
          const [rows, kept, v] = golden.shape('mtp_logits') as [number, number, number];
          const full = result.mtpLogits!.length / rows / v;
          const mine = result.mtpLogits!.filter((_, i) => Math.floor(i / v) % full < kept);
          expect(maxError(mine, golden.floats('mtp_logits'))).toBeLessThan(LOGITS);
          expect(Math.abs(result.mainLoss! - golden.floats('main_loss')[0]!)).toBeLessThan(LOSS);
          expect(Math.abs(result.mtpLoss! - golden.floats('mtp_loss')[0]!)).toBeLessThan(LOSS);
        });
    });
  }
});
