import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const r1 = command({
  builder: async (parser) => (await import('../recipes/flags.js')).declareR1Flags(parser).option('json', jsonOption),
  handler: async (args) => {
    const { r1ConfigOf } = await import('../recipes/flags.js');
    const config = r1ConfigOf(args);
    const { runR1 } = await import('../recipes/run.js');
    const end = await runR1(config, { json: args.json });
    if (args.json) printJson(end);
  },
});
