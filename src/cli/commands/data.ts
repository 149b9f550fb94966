import { command } from '../command.js';
import { check } from '../data/check.js';

export const data = command({
  builder: (parser) => parser.command(check).demandCommand(1, 'Name what to do: check.'),
  handler: () => {},
});
