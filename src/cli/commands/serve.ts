import { command } from '../command.js';
import { declareFlags } from '../flags/declare.js';

export const serve = command({
  builder: (parser) => declareFlags(parser, 'serve'),
  handler: async (args) => {
    const { schemaValues } = await import('../flags/schema.js');
    const { resolveServe, serveSchema } = await import('../../serve/config.js');
    const config = resolveServe({
      apiKey: process.env.TRAIN_MOE_API_KEY || undefined,
      ...schemaValues(args, serveSchema),
    });
    const { runServer } = await import('../serve/run.js');
    await runServer(config);
  },
});
