import { command } from '../command.js';
import { r1 } from './r1.js';

/** What `train-moe` alone does: the whole recipe once, at a size that takes minutes. */
export const quickstart = command({
  ...r1,
  command: '$0',
  describe: 'the same as r1: from text to a small model that reasons, and a report; a few minutes',
});
