import { command, jsonOption } from '../command.js';
import { printJson, printTable } from '../output.js';

export const info = command({
  builder: (parser) =>
    parser
      .positional('name', { type: 'string', demandOption: true, describe: 'a model folder, a run folder or a preset' })
      .option('json', jsonOption),
  handler: async (args) => {
    const { modelFacts } = await import('../model/facts.js');
    const facts = modelFacts(args.name);
    if (args.json) return printJson(facts);
    const { config, ...figures } = facts;
    printTable(
      [...Object.entries(figures), ...Object.entries(config as object)].map(([key, value]) => [
        key,
        Number.isInteger(value) ? (value as number).toLocaleString('en-US') : JSON.stringify(value),
      ]),
    );
  },
});
