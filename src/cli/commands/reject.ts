import { command, jsonOption } from '../command.js';
import { printJson } from '../output.js';

export const reject = command({
  builder: async (parser) => {
    const { declareSchemaFlags } = await import('../schema_flags.js');
    const { rejectSchema } = await import('../../rl/curate/config.js');
    return declareSchemaFlags(parser, rejectSchema).option('json', jsonOption);
  },
  handler: async (args) => {
    const { schemaValues } = await import('../schema_flags.js');
    const { rejectSchema, resolveReject } = await import('../../rl/curate/config.js');
    const config = resolveReject(schemaValues(args, rejectSchema));
    const { reject: run } = await import('../../rl/curate/reject.js');
    const { withCurateView } = await import('../rl/curate.js');
    const end = await withCurateView(args.json, (hooks) => run(config, hooks));
    if (args.json) printJson(end);
  },
});
