import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const rewardModel = command({
  builder: async (parser) => {
    const { declareSchemaFlags } = await import('../schema_flags.js');
    const { rewardModelSchema } = await import('../../rl/preference/config.js');
    return declareSchemaFlags(parser, rewardModelSchema).option('json', jsonOption);
  },
  handler: async (args) => {
    const { runRewardModel } = await import('../rl/preference.js');
    const end = await runRewardModel(args);
    if (args.json) printJson(end);
  },
});
