import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collect, tokenize } from '../../data/index.js';
import { TrainMoeError } from '../../errors.js';
import { type Evaluation, evaluate } from '../../train/evaluate.js';
import { advising } from '../../train/fit.js';
import { forDocuments } from '../../train/masking.js';
import { objectiveOf, paperSettings } from '../../train/objective.js';
import { scoreChoices } from './fit.js';
import { type ModelOptions, openModel, openTextTokenizer, refuseLarger } from './open.js';

export interface EvaluationOptions extends ModelOptions {
  readonly data: readonly string[];
  readonly field: string;
  readonly length: number;
  readonly rows: number;
  readonly windows: number;
}

/** Scores a model on all of the text given. @throws TrainMoeError `bad-data` when it holds less than two tokens. */
export async function runEvaluation(options: EvaluationOptions): Promise<Evaluation> {
  const { model, device } = openModel(options);
  const tokenizer = openTextTokenizer(options);
  refuseLarger(tokenizer, model, options);
  const { length, rows, windows } = options;
  const objective = objectiveOf(model, tokenizer, paperSettings(model, length));
  const cacheDir = mkdtempSync(join(tmpdir(), 'train-moe-eval-'));
  try {
    const tokens = await tokenize(collect(options.data, { field: options.field }), forDocuments(tokenizer), {
      cacheDir,
      fractions: { validation: 0, test: 0 },
    });
    const result = advising(
      device,
      () => scoreChoices(model, { rows, length }),
      () => evaluate(model, tokens.split('train'), { device, length, rows, windows, packing: 'stream', objective }),
    );
    if (!result) throw new TrainMoeError('bad-data', 'The text holds less than two tokens; there is nothing to score.');
    return result;
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
}
