import { describe, expect, it } from 'vitest';
import { addon } from '../../src/native.js';
import { type BalanceOptions, balanceLoss } from '../../src/ops/balance_loss.js';
import { type Device, differentiate, from, parameter, scope, zeros } from '../../src/tensor/index.js';
import { devices, randomValues, relativeError } from './harness.js';

/*
 * The loss is a root of the backward pass (its gradient is 1 whatever comes later), so it has its own test instead of a
 * case: value and gradient against the definition in float64 and its finite differences.
 */

interface Routing {
  readonly tokens: number;
  readonly experts: number;
  readonly chosen: readonly (readonly number[])[]; // per token; empty: not routed
  readonly segments: readonly number[];
}

const OFF: BalanceOptions = {
  rescale: false,
  ownTop: false,
  expert: 0,
  devices: 0,
  topDevices: 1,
  device: 0,
  communication: 0,
};
const V2: BalanceOptions = { ...OFF, expert: 0.3, devices: 3, topDevices: 2, device: 0.7, communication: 0.9 };
const V3: BalanceOptions = { ...OFF, rescale: true, ownTop: true, expert: 0.5 };

const K = 2;
/** Two sequences and a tail that belongs to none; token 4 is padding. */
const ROUTING: Routing = {
  tokens: 11,
  experts: 6,
  chosen: [[0, 1], [0, 5], [2, 1], [0, 2], [], [3, 0], [4, 5], [1, 0], [1, 3], [2, 0], [5, 4]],
  segments: [0, 6, 9],
};

const sum = (x: readonly number[]) => x.reduce((a, b) => a + b, 0);

/** DeepSeek-V2 section 2.2.3 and V3 equations 17-20, per sequence, averaged over sequences. */
function definition(scores: Float64Array, r: Routing, o: BalanceOptions): number {
  const losses = r.segments.slice(1).map((end, q) => {
    const tokens = r.chosen.flatMap((c, t) => (t >= r.segments[q]! && t < end && c.length > 0 ? [t] : []));
    const rows = tokens.map((t) => Array.from(scores.subarray(t * r.experts, (t + 1) * r.experts)));
    const best = rows.map((s) => [...s.keys()].sort((a, b) => s[b]! - s[a]!).slice(0, K));
    const counted = o.ownTop ? best : tokens.map((t) => r.chosen[t]!);
    const all = Array.from({ length: r.experts }, (_, e) => e);
    const f = all.map((e) => (r.experts / (K * tokens.length)) * counted.filter((c) => c.includes(e)).length);
    const p = all.map((e) => sum(rows.map((s) => (o.rescale ? s[e]! / sum(s) : s[e]!))) / tokens.length);
    let loss = o.expert * sum(all.map((e) => f[e]! * p[e]!));
    for (let d = 0; d < o.devices; d++) {
      const size = r.experts / o.devices;
      const own = all.slice(d * size, (d + 1) * size);
      const sent = tokens.filter((t) => r.chosen[t]!.some((e) => own.includes(e))).length;
      const probability = sum(own.map((e) => p[e]!));
      loss += o.device * (sum(own.map((e) => f[e]!)) / size) * probability;
      loss += o.communication * ((o.devices / (o.topDevices * tokens.length)) * sent) * probability;
    }
    return loss;
  });
  return sum(losses) / losses.length;
}

const scoresOf = (r: Routing) => randomValues([r.tokens, r.experts], 3).map((v) => Math.fround(1 / (1 + Math.exp(-v))));

function compute(scores: Float64Array, r: Routing, o: BalanceOptions, device: Device, passes = 1) {
  return scope(() => {
    const x = parameter(from(Float32Array.from(scores), [r.tokens, r.experts], { device }));
    const chosen = from(Int32Array.from(r.chosen.flatMap((c) => (c.length ? c : [-1, -1]))), [r.tokens, K], { device });
    const segments = from(Int32Array.from(r.segments), undefined, { device });
    let loss = 0;
    for (let i = 0; i < passes; i++)
      scope(() => {
        loss = differentiate(() => ({ losses: [], loss: balanceLoss(x, chosen, segments, o) })).loss.item();
      });
    const gradient = x.gradient!.value(x.shape)!.read();
    x.dispose();
    return { loss, gradient };
  });
}

function finiteDifferences(scores: Float64Array, f: () => number): Float64Array {
  return scores.map((value, i) => {
    scores[i] = value + 1e-6;
    const up = f();
    scores[i] = value - 1e-6;
    const down = f();
    scores[i] = value;
    return (up - down) / 2e-6;
  });
}

describe('balance_loss', () => {
  for (const device of devices())
    for (const [name, options] of Object.entries({ V2, 'V2-Lite': { ...OFF, expert: 1 }, V3 }))
      it(`equals its definition, and so does its gradient (${name}, ${device.name})`, () => {
        const scores = scoresOf(ROUTING);
        const { loss, gradient } = compute(scores, ROUTING, options, device);
        expect(Math.abs(loss - definition(scores, ROUTING, options))).toBeLessThan(1e-6);
        const numeric = finiteDifferences(scores, () => definition(scores, ROUTING, options));
        expect(relativeError(gradient, numeric)).toBeLessThan(1e-5);
        expect(
          relativeError(
            compute(scores, ROUTING, options, device, 2).gradient,
            gradient.map((g) => 2 * g),
          ),
        ).toBeLessThan(1e-6);
      });

  it('gives no gradient to padding and to tokens of no sequence', () => {
    const { gradient } = compute(scoresOf(ROUTING), ROUTING, V2, devices()[0]!);
    const ofToken = (t: number) => gradient.subarray(t * 6, (t + 1) * 6);
    for (const t of [4, 9, 10]) expect([...ofToken(t)]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(ofToken(0).every((g) => g !== 0)).toBe(true);
  });

  it('is alpha when the load is even', () => {
    const even: Routing = {
      tokens: 3,
      experts: 6,
      chosen: [
        [0, 1],
        [2, 3],
        [4, 5],
      ],
      segments: [0, 3],
    };
    const { loss } = compute(new Float64Array(18).fill(1 / 6), even, { ...OFF, expert: 0.25 }, devices()[0]!);
    expect(loss).toBeCloseTo(0.25, 6);
  });

  it('gives the same bits with any number of threads', () => {
    const before = addon.hostInfo().threads;
    try {
      const runs = [1, 2, 3].map((threads) => {
        addon.setThreads(threads);
        return compute(scoresOf(ROUTING), ROUTING, V2, devices().at(-1)!);
      });
      for (const run of runs) expect(run).toEqual(runs[0]);
    } finally {
      addon.setThreads(before);
    }
  });

  it('refuses experts and segments that do not exist', () => {
    const call = (experts: number[], segments: number[], options = V2) =>
      balanceLoss(zeros([2, 6]), from(Int32Array.from(experts), [2, 2]), from(Int32Array.from(segments)), options);
    expect(() => call([0, 1, 2, 6], [0, 2])).toThrow(/balance_loss: a token chose expert 6 of 6/);
    expect(() => call([0, 1, 2, 3], [0, 3])).toThrow(/segments must rise/);
    expect(() => call([0, 1, 2, 3], [0, 2], { ...V2, devices: 4 })).toThrow(/6 experts do not lie evenly on 4/);
  });
});
