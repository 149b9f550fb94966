import { command, jsonOption } from '../command.js';
import { declareFlags } from '../flags/declare.js';
import { printJson, printTable } from '../output.js';

export const config = command({
  builder: async (parser) =>
    (await declareFlags(parser, 'run'))
      .option('json', jsonOption)
      .option('schema', { type: 'boolean', default: false, describe: 'print the JSON Schema, for editors' }),
  handler: async (args) => {
    const { jsonSchema } = await import('../../config/index.js');
    const { configOf } = await import('../flags/run.js');
    if (args.schema) return printJson(jsonSchema());
    const { config, sources } = configOf(args);
    if (args.json) return printJson({ config, sources: Object.fromEntries(sources) });
    const { leaves } = await import('../../config/layers.js');
    printTable([...leaves(config)].map(([path, value]) => [path, JSON.stringify(value), sources.get(path) ?? '']));
  },
});
