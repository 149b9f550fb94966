import type { Measured } from './measure.js';
import type { ModelStage } from './session.js';
import type { Finished } from './stages.js';

/** The report's name in the recipe's folder. */
export const REPORT = 'report.html';

/** A model of the recipe with its evaluation: a line of the final table. */
export interface R1Row {
  readonly name: string;
  readonly title: string;
  readonly stage: ModelStage;
  readonly measured: Finished<Measured>;
}

/** What the recipe made. */
export interface R1End {
  readonly out: string;
  /** Asked to stop before its end; the same command goes on. */
  readonly stopped: boolean;
  readonly rows: readonly R1Row[];
  readonly seconds: number;
}
