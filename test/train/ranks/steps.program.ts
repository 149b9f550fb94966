import { takeSeat } from '../../../src/parallel/index.js';
import { type Steps, train } from './steps.js';

/** A rank that trains some steps of each model it is given, and tells what came of them. */
await takeSeat<readonly Steps[]>(async (all, { communicator, send }) =>
  send(all.map((steps) => train(steps, communicator))),
);
