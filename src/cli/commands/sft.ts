import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const sft = command({
  builder: async (parser) => {
    const [{ declareSchemaFlags }, { sftSchema }] = await Promise.all([
      import('../schema_flags.js'),
      import('../../train/sft/config.js'),
    ]);
    return declareSchemaFlags(parser, sftSchema).option('json', jsonOption);
  },
  handler: async (args) => {
    const { schemaValues } = await import('../schema_flags.js');
    const { resolveSft, sftSchema } = await import('../../train/sft/config.js');
    const config = resolveSft(schemaValues(args, sftSchema));
    const { runSft } = await import('../train/sft.js');
    const end = await runSft(config, { json: args.json });
    if (args.json) printJson(end);
  },
});
