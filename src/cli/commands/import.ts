import { command } from '../command.js';
import { print } from '../output.js';

export const importModel = command({
  builder: (parser) =>
    parser
      .option('model', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe: 'the folder as it was downloaded',
      })
      .option('out', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe: 'the folder to write; must not exist',
      })
      .option('dtype', { type: 'string', default: 'bf16', requiresArg: true, describe: 'f32 or bf16' }),
  handler: async (args) => {
    const { rewriteModel } = await import('../model/rewrite.js');
    print(rewriteModel(args));
  },
});
