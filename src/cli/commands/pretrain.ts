import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson } from '../output.js';

export const pretrain = command({
  builder: async (parser) => (await declareFlags(parser, 'run')).option('json', jsonOption),
  handler: async (args) => {
    const { configOf } = await import('../flags/run.js');
    const { runTraining } = await import('../train/run.js');
    const end = await runTraining(configOf(args).config, { json: args.json });
    if (args.json) {
      const { losses, loads, ...figures } = end;
      printJson({ ...figures, finalLoss: losses.at(-1)?.[1] });
    }
  },
});
