import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const grpo = command({
  builder: async (parser) => (await declareFlags(parser, 'grpo')).option('json', jsonOption),
  handler: async (args) => {
    const { grpoConfigOf } = await import('../flags/grpo.js');
    const config = grpoConfigOf(args);
    const { runGrpo } = await import('../rl/run.js');
    const end = await runGrpo(config, { json: args.json });
    if (args.json) printJson(end);
  },
});
