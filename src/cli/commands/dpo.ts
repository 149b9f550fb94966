import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const dpo = command({
  builder: async (parser) => (await declareFlags(parser, 'dpo')).option('json', jsonOption),
  handler: async (args) => {
    const { runDpo } = await import('../rl/preference.js');
    const end = await runDpo(args);
    if (args.json) printJson(end);
  },
});
