import { command } from '../command.js';
import { print } from '../output.js';

export const exportModel = command({
  builder: (parser) =>
    parser
      .option('model', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe: 'a run folder, a checkpoint or a Hugging Face folder',
      })
      .option('out', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe: 'the folder to write; must not exist',
      })
      .option('adapter', { type: 'string', requiresArg: true, describe: 'a PEFT LoRA adapter to merge into the model' })
      .option('dtype', { type: 'string', default: 'bf16', requiresArg: true, describe: 'f32 or bf16' }),
  handler: async (args) => {
    const { rewriteModel } = await import('../model/rewrite.js');
    print(rewriteModel(args));
  },
});
