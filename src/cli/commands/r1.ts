import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const r1 = command({
  builder: async (parser) => (await declareFlags(parser, 'r1')).option('json', jsonOption),
  handler: async (args) => {
    const { r1ConfigOf } = await import('../flags/r1.js');
    const config = r1ConfigOf(args);
    const { runR1 } = await import('../recipes/run.js');
    const end = await runR1(config, { json: args.json });
    if (args.json) printJson(end);
  },
});
