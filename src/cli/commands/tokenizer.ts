import { command } from '../command.js';
import { decode } from '../tokenizer/decode.js';
import { encode } from '../tokenizer/encode.js';
import { train } from '../tokenizer/train.js';

export const tokenizer = command({
  builder: (parser) =>
    parser.command(train).command(encode).command(decode).demandCommand(1, 'Name what to do: train, encode or decode.'),
  handler: () => {},
});
