import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const sft = command({
  builder: async (parser) => (await declareFlags(parser, 'sft')).option('json', jsonOption),
  handler: async (args) => {
    const { schemaValues } = await import('../flags/schema.js');
    const { resolveSft, sftSchema } = await import('../../train/sft/config.js');
    const config = resolveSft(schemaValues(args, sftSchema));
    const { runSft } = await import('../train/sft.js');
    const end = await runSft(config, { json: args.json });
    if (args.json) printJson(end);
  },
});
