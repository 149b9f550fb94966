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
        describe: 'the folder, or the .gguf file, to write; must not exist',
      })
      .option('adapter', { type: 'string', requiresArg: true, describe: 'a PEFT LoRA adapter to merge into the model' })
      .option('dtype', {
        type: 'string',
        default: 'bf16',
        requiresArg: true,
        describe: 'f32 or bf16; of a .gguf file also f16 or q8_0',
      }),
  handler: async (args) => {
    if (args.out.endsWith('.gguf')) {
      const { exportGguf } = await import('../model/gguf.js');
      for (const sentence of await exportGguf(args)) print(sentence);
      return;
    }
    const { rewriteModel } = await import('../model/rewrite.js');
    print(rewriteModel(args));
  },
});
