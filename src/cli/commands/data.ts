import { command } from '../command.js';
import { check } from '../data/check.js';

export const data = command({
  command: 'data <action>',
  describe: 'look into files of conversations before training on them',
  builder: (parser) => parser.command(check).demandCommand(1, 'Name what to do: check.'),
  handler: () => {},
});
