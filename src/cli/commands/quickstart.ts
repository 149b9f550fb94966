import { command, jsonOption } from '../command.js';

/** What `train-moe` alone does: the whole path once, at a size that takes minutes. */
export const quickstart = command({
  command: '$0',
  describe: 'the whole path on a small model: text, vocabulary, training, samples; a few minutes',
  builder: async (parser) => (await import('../config_flags.js')).declareConfigFlags(parser).option('json', jsonOption),
  handler: async (args) => {
    const { configOf } = await import('../config_flags.js');
    const { runQuickstart } = await import('../train/quickstart.js');
    const { config } = configOf(args, { source: 'quickstart', values: { preset: 'micro', out: 'runs/quickstart' } });
    await runQuickstart(config, { json: args.json });
  },
});
