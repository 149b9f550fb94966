import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const dpo = command({
  builder: async (parser) => {
    const { declareSchemaFlags } = await import('../schema_flags.js');
    const { dpoSchema } = await import('../../rl/preference/config.js');
    return declareSchemaFlags(parser, dpoSchema).option('json', jsonOption);
  },
  handler: async (args) => {
    const { runDpo } = await import('../rl/preference.js');
    const end = await runDpo(args);
    if (args.json) printJson(end);
  },
});
