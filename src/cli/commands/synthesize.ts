import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const synthesize = command({
  builder: async (parser) => {
    const { declareSchemaFlags } = await import('../schema_flags.js');
    const { synthesizeSchema } = await import('../../rl/curate/config.js');
    return declareSchemaFlags(parser, synthesizeSchema).option('json', jsonOption);
  },
  handler: async (args) => {
    const { schemaValues } = await import('../schema_flags.js');
    const { synthesizeSchema, resolveSynthesize } = await import('../../rl/curate/config.js');
    const config = resolveSynthesize(schemaValues(args, synthesizeSchema));
    const { synthesize: run } = await import('../../rl/curate/synthesize.js');
    const { withCurateView } = await import('../rl/curate.js');
    const end = await withCurateView(args.json, (hooks) => run(config, hooks));
    if (args.json) printJson(end);
  },
});
