import * as native from '../../native.gen.js';
import { moePlan } from '../../ops/moe.js';
import { empty, from, scope, type Tensor } from '../../tensor/index.js';
import type { Case, Job } from '../case.js';
import { shortWork } from '../case.js';
import { moeFlops } from '../counting.js';
import { draw, drawRoutes, into } from '../inputs.js';
import type { JobShapes } from '../shapes.js';

/**
 * The routed experts alone, in bf16, the routes being given. Forward: order the rows by expert, gate and up products with
 * the gather and SwiGLU fused in, down product, weighted sum per token. Backward: the same in reverse, to the gradients of
 * tokens, route weights (f32) and expert weights (f32).
 */
export const moe: Job<'moe'> = {
  name: 'moe',
  rows: ['moe_forward', 'moe_backward'],
  repetitions: shortWork,
  run(c) {
    const layer = makeLayer(c);
    const metric = 'tflop_per_s';
    const forward = () => scope(() => void runForward(layer));
    c.time({ job: 'moe_forward', metric, work: 1e-12 * moeFlops(c.shape, 'forward') }, forward);
    const saved = runForward(layer);
    const gradients = makeGradients(layer, saved);
    c.time({ job: 'moe_backward', metric, work: 1e-12 * moeFlops(c.shape, 'backward') }, () =>
      runBackward(layer, saved, gradients),
    );
  },
};

function makeLayer({ shape: s, device }: Case<JobShapes['moe']>) {
  const on = { dtype: 'bf16', device } as const;
  const routes = drawRoutes(s);
  return {
    x: draw([s.tokens, s.hidden], on),
    experts: from(routes.experts, [s.tokens, s.top_k], { device }),
    weights: from(routes.weights, [s.tokens, s.top_k], { device }),
    gateUp: draw([s.experts, 2 * s.inner, s.hidden], on, 0.02),
    down: draw([s.experts, s.hidden, s.inner], on, 0.02),
    count: s.experts,
  };
}
type Layer = ReturnType<typeof makeLayer>;

function runForward({ x, experts, weights, gateUp, down, count }: Layer) {
  const rows = experts.size;
  const plan = moePlan(experts, count);
  const hidden = empty([rows, gateUp.shape[1]!], x);
  const inner = empty([rows, down.shape[2]!], x);
  native.groupedLinearSwiglu(inner, hidden, x, gateUp, plan.offsets, plan.rows);
  const out = empty([rows, down.shape[1]!], x);
  native.groupedLinearForward(out, inner, down, plan.offsets, undefined);
  const y = empty(x.shape, x);
  native.combineForward(y, out, plan.inverse, weights);
  return { plan, hidden, inner, out };
}
type Saved = ReturnType<typeof runForward>;

function makeGradients({ x, weights, gateUp, down }: Layer, { hidden, inner, out }: Saved) {
  const { device } = x;
  const like = (t: Tensor) => empty(t.shape, t);
  return {
    dy: draw(x.shape, x),
    dout: like(out),
    dinner: like(inner),
    dhidden: like(hidden),
    drows: empty([out.shape[0]!, x.shape[1]!], x),
    dx: like(x),
    dweights: like(weights),
    dgateUp: empty(gateUp.shape, { device }),
    ddown: empty(down.shape, { device }),
  };
}

function runBackward(
  { x, weights, gateUp, down }: Layer,
  { plan, hidden, inner, out }: Saved,
  g: ReturnType<typeof makeGradients>,
): void {
  const { offsets, rows, inverse } = plan;
  native.combineBackward(into(g.dout), into(g.dweights), g.dy, out, inverse, weights);
  native.groupedLinearBackward(into(g.dinner), into(g.ddown), g.dout, inner, down, offsets, undefined);
  native.swigluBackward(into(g.dhidden), g.dinner, hidden);
  native.groupedLinearBackward(into(g.drows), into(g.dgateUp), g.dhidden, x, gateUp, offsets, rows);
  native.combineForward(g.dx, g.drows, inverse, undefined);
}
