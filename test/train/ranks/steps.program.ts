import { takeSeat } from '../../../src/parallel/index.js';
import { type Steps, train } from './steps.js';

/** A rank that trains some steps and tells what came of it. */
await takeSeat<Steps>(async (steps, { communicator, send }) => send(train(steps, communicator)));
