/** Options of `tokenizer encode` and `tokenizer decode`. */
export const tokenizerOption = {
  type: 'string',
  demandOption: true,
  requiresArg: true,
  describe: 'tokenizer.json, .tiktoken, vocab.json, vocab.txt, or a folder that holds one',
} as const;

export const jsonlOption = {
  type: 'string',
  requiresArg: true,
  describe: 'a JSON Lines file to read, "-" for standard input',
} as const;

export const outOption = {
  type: 'string',
  requiresArg: true,
  describe: 'the file to write; without one, standard output',
} as const;
