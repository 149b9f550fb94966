#!/usr/bin/env node
import * as nodeModule from 'node:module';
import { exitCodes } from './exit_codes.js';

// From Node 22.1 on: what is imported from here on starts from compiled code.
(nodeModule as { enableCompileCache?(): unknown }).enableCompileCache?.();
const { run } = await import('./run.js');

// The reader of a pipe went away (`train-moe ... | head`): there is nobody left to write for.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  });

process.exitCode = await run(process.argv.slice(2));
