import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const synthesize = command({
  builder: async (parser) => (await declareFlags(parser, 'synthesize')).option('json', jsonOption),
  handler: async (args) => {
    const { schemaValues } = await import('../flags/schema.js');
    const { synthesizeSchema, resolveSynthesize } = await import('../../rl/curate/config.js');
    const config = resolveSynthesize(schemaValues(args, synthesizeSchema));
    const { synthesize: run } = await import('../../rl/curate/synthesize.js');
    const { withCurateView } = await import('../rl/curate.js');
    const end = await withCurateView(args.json, (hooks) => run(config, hooks));
    if (args.json) printJson(end);
  },
});
