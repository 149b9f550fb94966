import { command } from '../command.js';
import { modelOptions, sampleFlags, sampleOptions } from '../model/options.js';

export const chat = command({
  builder: (parser) =>
    sampleOptions(modelOptions(parser))
      .option('system', { type: 'string', requiresArg: true, describe: 'instructions that come first' })
      .option('context', {
        type: 'number',
        requiresArg: true,
        describe: 'tokens of the conversation that the model is given; by default 16384, or what it reads',
      })
      .option('template', {
        type: 'string',
        requiresArg: true,
        describe: "a chat template (Jinja file or text); by default the model's own",
      }),
  handler: async (args) => {
    const { openModel, openTokenizer, refuseLarger } = await import('../model/open.js');
    const { modelFolder } = await import('../../train/run/model_folder.js');
    const { openChatTemplate } = await import('../../tokenizer/index.js');
    const { runChat } = await import('../model/chat.js');
    const tokenizer = openTokenizer(args);
    const template = await openChatTemplate(tokenizer, {
      ...(args.tokenizer === undefined && { folder: modelFolder(args.model) }),
      template: args.template,
    });
    const opened = openModel(args);
    refuseLarger(tokenizer, opened.model, args);
    await runChat(opened, template, { ...sampleFlags(args), system: args.system, context: args.context });
  },
});
