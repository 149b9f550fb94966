import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const grpo = command({
  builder: async (parser) => (await import('../rl/flags.js')).declareGrpoFlags(parser).option('json', jsonOption),
  handler: async (args) => {
    const { grpoConfigOf } = await import('../rl/flags.js');
    const config = grpoConfigOf(args);
    const { runGrpo } = await import('../rl/run.js');
    const end = await runGrpo(config, { json: args.json });
    if (args.json) printJson(end);
  },
});
