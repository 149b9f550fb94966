/** A thread of `CounterPool`: says 'ready', counts chunks, says 'done' after each, and hands all over on 'finish'. */
import { parentPort, workerData } from 'node:worker_threads';
import { resolvePattern } from '../patterns.js';
import { type Chunk, PieceCounter } from './count.js';
import type { CounterOptions } from './pool.js';

const { pattern, maxPiece, memoryLimit } = workerData as CounterOptions;
const counter = new PieceCounter(resolvePattern(pattern).split, maxPiece, memoryLimit);

parentPort?.on('message', (message: Chunk | 'finish') => {
  if (message === 'finish') {
    const counts = counter.take();
    parentPort?.postMessage(counts, [counts.bytes.buffer, counts.starts.buffer, counts.counts.buffer]);
    parentPort?.close();
  } else {
    counter.count(message);
    parentPort?.postMessage('done');
  }
});

parentPort?.postMessage('ready');
