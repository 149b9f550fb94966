import { TrainMoeError } from '../../errors.js';
import { command, jsonOption } from '../command.js';
import { exitCodes } from '../exit_codes.js';
import { print, printJson, printTable } from '../output.js';

export const doctor = command({
  builder: (parser) =>
    parser
      .option('device', {
        choices: ['auto', 'cpu', 'cuda'] as const,
        default: 'auto' as const,
        describe: 'the device that must work; else exit 3',
      })
      .option('json', jsonOption),
  handler: async (args) => {
    const [{ gatherFacts }, { verdictOf }, { reportRows }] = await Promise.all([
      import('../doctor/gather.js'),
      import('../doctor/verdict.js'),
      import('../doctor/report.js'),
    ]);
    const facts = await gatherFacts();
    const verdict = verdictOf(facts);
    if (args.json) printJson({ ...facts, verdict });
    else {
      printTable(reportRows(facts, verdict));
      print();
      print(verdict.line);
    }
    if (args.device === 'cuda' && verdict.device === 'cpu')
      throw new TrainMoeError('no-device', `CUDA was asked for and cannot be used: ${verdict.cudaFault}`);
    if (verdict.device === 'none') process.exitCode = exitCodes.noDevice;
  },
});
