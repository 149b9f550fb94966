import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const reject = command({
  builder: async (parser) => (await declareFlags(parser, 'reject')).option('json', jsonOption),
  handler: async (args) => {
    const { schemaValues } = await import('../flags/schema.js');
    const { rejectSchema, resolveReject } = await import('../../rl/curate/config.js');
    const config = resolveReject(schemaValues(args, rejectSchema));
    const { reject: run } = await import('../../rl/curate/reject.js');
    const { withCurateView } = await import('../rl/curate.js');
    const end = await withCurateView(args.json, (hooks) => run(config, hooks));
    if (args.json) printJson(end);
  },
});
