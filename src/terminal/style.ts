import picocolors from 'picocolors';

/** What the functions of this folder need to know of an output; `process.stdout` and `process.stderr` are such. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

export type Style = ReturnType<typeof picocolors.createColors>;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Colours for one output, or functions that change nothing. NO_COLOR (no-color.org) wins, then FORCE_COLOR; otherwise
 * colours go to terminals that are not "dumb". Decided per output: standard output may be a file while errors are seen.
 */
export function styleFor(output: Output, env: Environment = process.env): Style {
  return picocolors.createColors(wantsColor(output, env));
}

function wantsColor(output: Output, env: Environment): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '') return env.FORCE_COLOR !== '0';
  return isInteractive(output, env);
}

/** Whether lines can be rewritten here: a terminal that understands it, with a person and no CI log before it. */
export function isInteractive(output: Output, env: Environment = process.env): boolean {
  const ci = env.CI !== undefined && env.CI !== '' && env.CI !== 'false' && env.CI !== '0';
  return output.isTTY === true && env.TERM !== 'dumb' && !ci;
}

/** Columns to fill: those of the terminal, or 80 for pipes and files. */
export function columnsOf(output: Output): number {
  return output.isTTY === true && output.columns !== undefined && output.columns > 0 ? output.columns : 80;
}

/**
 * Lets a run go on when the reader of its output goes away (`train-moe pretrain | head`): from then on what is written
 * is lost, instead of an unhandled error that ends the process. Call it once per output, at the start of a program.
 */
export function ignoreClosedPipe(output: { on(event: 'error', listener: (error: Error) => void): unknown }): void {
  output.on('error', (error) => {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  });
}
