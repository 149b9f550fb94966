import * as native from '../../native.gen.js';
import { empty, zeros } from '../../tensor/index.js';
import { type Job, shortWork } from '../case.js';
import { draw } from '../inputs.js';

/** bf16 states to f32 scores, the best experts of the best groups, and their normalised weights, as DeepSeek-V3 routes. */
export const router: Job<'router'> = {
  name: 'router',
  repetitions: shortWork,
  run(c) {
    const { tokens, hidden, experts, top_k: active, groups, top_groups: topGroups } = c.shape;
    const { device } = c;
    const ints = { dtype: 'i32', device } as const;
    const x = draw([tokens, hidden], { dtype: 'bf16', device });
    const w = draw([experts, hidden], { dtype: 'f32', device }, 0.02);
    const bias = zeros([experts], { device });
    const logits = empty([tokens, experts], { device });
    const weights = empty([tokens, active], { device });
    const chosen = empty([tokens, active], ints);
    const scores = empty([tokens, experts], { device });
    const counts = empty([experts], ints);
    c.time({ metric: 'tokens_per_s', work: tokens }, () => {
      native.linearForward(logits, x, w, undefined);
      native.routerForward(
        weights,
        chosen,
        scores,
        counts,
        logits,
        bias,
        undefined, // every token is routed
        undefined, // the router chooses
        groups,
        topGroups,
        2, // a group counts by its two best experts
        true, // sigmoid
        true, // normalised
        1,
      );
    });
  },
};
