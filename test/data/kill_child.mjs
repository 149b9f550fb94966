// Tokenises slowly, for a test that kills this process: node kill_child.mjs INDEX_JS CORPUS CACHE
import process from 'node:process';

const [index, corpus, cacheDir] = process.argv.slice(2);
const { collect, tokenize } = await import(index);
const sleep = new Int32Array(new SharedArrayBuffer(4));
const tokenizer = {
  vocabSize: 257,
  eosId: 256,
  fingerprint: 'bytes',
  encode(text) {
    Atomics.wait(sleep, 0, 0, 2);
    return Uint32Array.from(Buffer.from(text));
  },
};
process.stdout.write('started\n');
await tokenize(collect(corpus), tokenizer, { cacheDir, fractions: { validation: 0.1, test: 0 }, shardTokens: 400 });
