import type { Language } from './tools.js';

/** Written before the program runs. */
export const STARTED = 1;

/**
 * What the interpreter is started with. It reads {"program", "token"} from its input and writes a STARTED byte, by which
 * a sandbox that did not come up is told from a program that failed. Then it runs the program and prints the token only if the program came to its end: a program that leaves early with status 0 has not passed. Python and
 * JavaScript let a program look into its own process, so one that hunts for the token can find it; this guards against
 * `sys.exit(0)`, not against an attack on the tests from within.
 */
export const DRIVERS: Readonly<Record<Language, (program: string) => readonly string[]>> = {
  python: (program) => [program, '-I', '-B', '-c', PYTHON],
  javascript: (program) => [program, '--max-old-space-size=256', '-e', JAVASCRIPT],
};

const PYTHON = `
import json, os, sys
job = json.loads(sys.stdin.buffer.read())
out = os.dup(1)
os.write(out, bytes([${STARTED}]))
sys.setrecursionlimit(4000)
exec(compile(job["program"], "<program>", "exec"), {"__name__": "__main__"})
os.write(out, ("\\n" + job["token"] + "\\n").encode())
`;

const JAVASCRIPT = `
const { readFileSync, writeSync } = require('node:fs');
const { program, token } = JSON.parse(readFileSync(0, 'utf8'));
writeSync(1, Buffer.from([${STARTED}]));
const run = new (async () => {}).constructor('require', program);
run(require).then(() => writeSync(1, '\\n' + token + '\\n'), (error) => { console.error(error); process.exit(1); });
`;
