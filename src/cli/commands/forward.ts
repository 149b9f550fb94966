import { command } from '../command.js';
import { modelOptions } from '../model/options.js';

export const forward = command({
  builder: (parser) =>
    modelOptions(parser)
      .option('inputs', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe:
          'a .safetensors file with input_ids, attention_mask, position_ids, token_type_ids, labels; of BERT also next_sentence_label, of ALBERT sentence_order_label, of XLNet perm_mask, target_mapping, mems.i',
      })
      .option('out', {
        type: 'string',
        demandOption: true,
        requiresArg: true,
        describe: 'the .safetensors file to write: logits, loss, grad.*; of XLNet also new_mems.i',
      })
      .option('grads', {
        type: 'boolean',
        default: false,
        describe: 'also write the gradient of the loss for every parameter',
      }),
  handler: async (args) => {
    const { runForward } = await import('../model/forward.js');
    runForward(args);
  },
});
