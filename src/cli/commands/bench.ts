import { command } from '../command.js';
import { print } from '../output.js';

export const bench = command({
  builder: (parser) =>
    parser
      .option('job', { type: 'string', default: '', requiresArg: true, describe: 'only jobs matching this expression' })
      .option('shape', { type: 'string', default: '', requiresArg: true, describe: 'only shapes matching this one' })
      .option('rival', { type: 'string', default: '', requiresArg: true, describe: 'only variants matching this one' })
      .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'auto, cpu, cuda or emulator' })
      .option('dtype', { choices: ['f32', 'bf16'] as const, describe: 'whole models in this type only; default both' })
      .option('seconds', { type: 'number', requiresArg: true, describe: 'time for one measurement; default 1 to 3' })
      .option('threads', { type: 'number', requiresArg: true, describe: 'threads of the CPU backend' })
      .option('patience', {
        type: 'number',
        default: 0,
        requiresArg: true,
        describe: 'seconds to wait, a measurement, for other programs to leave the cores alone',
      })
      .option('smoke', {
        type: 'boolean',
        default: false,
        describe: 'tiny shapes: shows that all runs, measures nothing',
      })
      .option('text', { type: 'string', requiresArg: true, describe: "a text file for the tokenizer's jobs" })
      .option('table', { type: 'boolean', default: false, describe: 'a table for people, job by job' })
      .option('json', { type: 'boolean', default: true, describe: 'JSON lines, which is the default' }),
  handler: async (args) => {
    const { bench: run, defaultThreads, rowsTable } = await import('../../bench/index.js');
    let rows: Parameters<typeof rowsTable>[0][number][] = [];
    const options = { ...args, threads: args.threads ?? defaultThreads() };
    await run(options, (event) => {
      if (!args.table) {
        if (event.kind === 'environment') print(JSON.stringify({ env: event.environment }));
        if (event.kind === 'row') print(JSON.stringify(event.row));
        return;
      }
      if (event.kind === 'environment') print(Object.values(event.environment).join(' · '));
      if (event.kind === 'row') rows.push(event.row);
      if (event.kind === 'job') {
        print(`\n${rowsTable(rows, process.stdout.columns)}`);
        rows = [];
      }
    });
  },
});
