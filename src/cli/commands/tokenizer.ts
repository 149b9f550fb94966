import { command } from '../command.js';
import { decode } from '../tokenizer/decode.js';
import { encode } from '../tokenizer/encode.js';

export const tokenizer = command({
  command: 'tokenizer <action>',
  describe: 'learn a vocabulary, or turn text into ids and back',
  builder: (parser) => parser.command(encode).command(decode).demandCommand(1, 'Name what to do: encode or decode.'),
  handler: () => {},
});
