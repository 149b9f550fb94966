import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const rewardModel = command({
  builder: async (parser) => (await declareFlags(parser, 'rewardModel')).option('json', jsonOption),
  handler: async (args) => {
    const { runRewardModel } = await import('../rl/preference.js');
    const end = await runRewardModel(args);
    if (args.json) printJson(end);
  },
});
