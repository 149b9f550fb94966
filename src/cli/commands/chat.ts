import { command } from '../command.js';
import { modelOptions, sampleFlags, sampleOptions } from '../model/options.js';

export const chat = command({
  command: 'chat',
  describe: 'talk to a model in the terminal; a base model just continues the conversation',
  builder: (parser) =>
    sampleOptions(modelOptions(parser)).option('system', {
      type: 'string',
      requiresArg: true,
      describe: 'instructions that come first',
    }),
  handler: async (args) => {
    const { openModel, openTokenizer } = await import('../model/open.js');
    const { runChat } = await import('../model/chat.js');
    await runChat(openModel(args), openTokenizer(args), { ...sampleFlags(args), system: args.system });
  },
});
