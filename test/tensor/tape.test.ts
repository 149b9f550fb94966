import { describe, expect, it } from 'vitest';
import * as native from '../../src/native.gen.js';
import { addon } from '../../src/native.js';
import { add } from '../../src/ops/add.js';
import { concat } from '../../src/ops/concat.js';
import { linearCrossEntropy } from '../../src/ops/cross_entropy.js';
import { headsLinear, linear } from '../../src/ops/linear.js';
import { rmsnorm } from '../../src/ops/rmsnorm.js';
import { rope } from '../../src/ops/rope.js';
import {
  checkpoint,
  device,
  differentiate,
  empty,
  exchanged,
  from,
  memoryOf,
  noGrad,
  parameter,
  recording,
  resetGradients,
  reshape,
  rows,
  scope,
  split,
  type Tensor,
  vectorJacobian,
  zeros,
} from '../../src/tensor/index.js';
import { randomValues, relativeError } from '../ops/harness.js';

const random = (shape: number[], seed: number) => from(Float32Array.from(randomValues(shape, seed)), shape);
const weight = (shape: number[], seed: number) => parameter(random(shape, seed));
const gradient = (p: Tensor) => p.gradient!.value(p.shape)!.read();

/** Pulls dy back through f and returns the gradients of the parameters. */
function pull(f: () => Tensor, parameters: Tensor[], dy: Tensor): Float32Array[] {
  resetGradients(parameters);
  scope(() => vectorJacobian(() => [f()], [dy]));
  return parameters.map(gradient);
}

describe('gradients', () => {
  it('add up when a tensor is used several times', () => {
    scope(() => {
      const w = weight([3, 3], 1);
      const x = random([2, 3], 2);
      const dy = random([2, 3], 3);
      const [once] = pull(() => linear(x, w), [w], dy);
      const [thrice] = pull(
        () => {
          const y = linear(x, w);
          return add(add(y, y), y);
        },
        [w],
        dy,
      );
      expect(
        relativeError(
          thrice!,
          once!.map((v) => 3 * v),
        ),
      ).toBeLessThan(1e-6);
      w.dispose();
    });
  });

  it('of a residual stream do not leak from one branch into the other, though they share memory', () => {
    scope(() => {
      const [a, b, g] = [weight([4, 4], 1), weight([4, 4], 2), weight([4], 3)] as const;
      const x = random([5, 4], 4);
      const dy = random([5, 4], 5);
      // y = h + B norm(h), h = A x: the gradient of h is dy plus what comes back through B and the norm.
      const f = () => {
        const h = linear(x, a);
        return add(h, linear(rmsnorm(h, g), b));
      };
      const [da] = pull(f, [a, b, g], dy);
      const [direct] = pull(() => linear(x, a), [a], dy);
      const [through] = pull(() => linear(rmsnorm(linear(x, a), g), b), [a, b, g], dy);
      expect(
        relativeError(
          da!,
          direct!.map((v, i) => v + through![i]!),
        ),
      ).toBeLessThan(1e-5);
      for (const p of [a, b, g]) p.dispose();
    });
  });

  it('of windows made by split() land in the whole, also where a part got none', () => {
    scope(() => {
      const w = weight([6, 3], 1);
      const x = random([4, 3], 2);
      const dy = random([4, 2], 3);
      const [part] = pull(() => linear(split(linear(x, w), [1, 2, 3])[1]!, identity(2)), [w], dy);
      const padded = from(
        Float32Array.from({ length: 24 }, (_, i) =>
          [1, 2].includes(i % 6) ? dy.read()[Math.floor(i / 6) * 2 + (i % 6) - 1]! : 0,
        ),
        [4, 6],
      );
      const [whole] = pull(() => linear(x, w), [w], padded);
      expect(relativeError(part!, whole!)).toBeLessThan(1e-6);
      w.dispose();
    });
  });

  it('of a tensor seen with its first dimensions exchanged land where its values lie', () => {
    scope(() => {
      const w = weight([2, 3, 2], 1);
      const twice = () => add(w, w);
      const each = from([1, 0, 0, 1, 1, 0, 0, 1], [2, 2, 2]); // an identity to each head
      const dy = random([3, 2, 2], 2);
      const [mine] = pull(() => headsLinear(exchanged(twice()), each), [w], dy);
      const at = dy.read();
      const expected = Float32Array.from({ length: 12 }, (_, i) => {
        const [a, b, c] = [Math.floor(i / 6), Math.floor(i / 2) % 3, i % 2];
        return 2 * at[(b * 2 + a) * 2 + c]!;
      });
      expect(relativeError(mine!, expected)).toBeLessThan(1e-6);
      expect(() => pull(() => exchanged(split(twice(), [1, 1], 0)[0]!), [w], random([3, 1, 2], 3))).toThrow(
        /exchanged: x is a window made by split\(\)/,
      );
      w.dispose();
    });
  });

  it('add up where a tensor is cut in several ways, of which none reaches all of it', () => {
    scope(() => {
      const w = weight([2, 3, 2], 1);
      const heads = from([1, 0, 0, 1, 1, 0, 0, 1], [2, 2, 2]); // an identity to each head
      const same = (part: Tensor) => add(part, zeros([...part.shape]));
      // What is read of y [2,3,2], and where in y its values lie.
      const uses: readonly (readonly [(y: Tensor) => Tensor, number[], number[]])[] = [
        [(y) => same(split(y, [1, 1], 0)[1]!), [1, 3, 2], [6, 7, 8, 9, 10, 11]],
        [(y) => same(split(y, [2], 0)[0]!), [2, 3, 2], Array.from({ length: 12 }, (_, n) => n)],
        [(y) => same(rows(y, 0, 1)), [1, 3, 2], [0, 1, 2, 3, 4, 5]],
        [(y) => headsLinear(exchanged(y), heads), [3, 2, 2], [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]],
      ];
      for (const which of [
        [0, 2],
        [2, 0],
        [0, 3],
        [3, 2],
        [0, 1, 3],
        [3, 1, 2],
        [0, 0],
        [3, 3],
        [2, 0, 3, 0],
      ]) {
        const dys = which.map((n, k) => random(uses[n]![1], 10 + k));
        const expected = new Float32Array(12);
        which.forEach((n, k) => {
          for (const [m, at] of uses[n]![2].entries()) expected[at]! += 2 * dys[k]!.read()[m]!;
        });
        resetGradients([w]);
        scope(() => {
          const f = () => {
            const y = add(w, w);
            return which.map((n) => uses[n]![0](y));
          };
          vectorJacobian(f, dys);
        });
        expect(relativeError(gradient(w), expected), which.join()).toBeLessThan(1e-6);
      }
      w.dispose();
    });
  });

  it('are turned back with a window that was turned in place, also where it is read through another cut', () => {
    scope(() => {
      const w = weight([2, 2, 4], 1);
      const angles = from([1, 1, 0, 0, Math.cos(1), Math.cos(2), Math.sin(1), Math.sin(2)], [2, 4]);
      const turned = () => {
        const y = add(w, w);
        rope(split(y, [1, 1], 1)[0]!, angles, from(Int32Array.of(1, 1), [2]), { interleaved: true });
        return y;
      };
      const same = (part: Tensor) => add(part, zeros([...part.shape]));
      const dy = random([1, 2, 4], 2);
      const [throughRows] = pull(() => same(rows(turned(), 0, 1)), [w], dy);
      const [throughWhole] = pull(() => same(turned()), [w], from([...dy.read(), ...new Float32Array(8)], [2, 2, 4]));
      expect(throughRows).toEqual(throughWhole);
      w.dispose();
    });
  });

  it('arrive when both a window and the whole are used, in either order', () => {
    scope(() => {
      const w = weight([4, 4], 1);
      const x = random([3, 4], 2);
      const dy = random([3, 4], 3);
      const eye = identity(2);
      const windowFirst = () => {
        const y = linear(x, w);
        const [left, right] = split(y, [2, 2]) as [Tensor, Tensor];
        return add(concat([linear(left, eye), linear(right, eye)]), y);
      };
      const wholeFirst = () => {
        const y = linear(x, w);
        const z = add(y, zeros([3, 4]));
        const [left, right] = split(y, [2, 2]) as [Tensor, Tensor];
        return add(z, concat([linear(left, eye), linear(right, eye)]));
      };
      const [once] = pull(() => linear(x, w), [w], dy);
      for (const f of [windowFirst, wholeFirst]) {
        const [both] = pull(f, [w], dy);
        expect(
          relativeError(
            both!,
            once!.map((v) => 2 * v),
          ),
        ).toBeLessThan(1e-6);
      }
      w.dispose();
    });
  });

  it('pass through reshape and rows', () => {
    scope(() => {
      const w = weight([4, 2], 1);
      const x = random([6, 2], 2);
      const dy = random([4, 4], 3);
      const [got] = pull(() => rows(reshape(reshape(linear(x, w), [3, 2, 4]), [6, 4]), 1, 5), [w], dy);
      const full = new Float32Array(24);
      full.set(dy.read(), 4);
      const [expected] = pull(() => linear(x, w), [w], from(full, [6, 4]));
      expect(relativeError(got!, expected!)).toBeLessThan(1e-6);
      w.dispose();
    });
  });

  it('are the same with and without checkpoint()', () => {
    scope(() => {
      const [a, b] = [weight([4, 4], 1), weight([4, 4], 2)] as const;
      const x = random([5, 4], 3);
      const dy = random([5, 4], 4);
      const body = (h: Tensor) => [linear(linear(h, b), b)] as const;
      const plain = pull(() => body(linear(x, a))[0], [a, b], dy);
      const again = pull(() => checkpoint([linear(x, a)], body)[0], [a, b], dy);
      expect(again).toEqual(plain);
      a.dispose();
      b.dispose();
    });
  });
});

const identity = (n: number): Tensor =>
  from(
    Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
    [n, n],
  );

describe('memory', () => {
  it('stays flat over 200 steps, and only the parameters stay alive', () => {
    const cpu = device('cpu');
    const w = weight([32, 32], 1);
    const x = scope(() => parameter(random([16, 32], 2)));
    const step = () =>
      scope(() => {
        resetGradients([w]);
        differentiate(() => {
          const [y] = checkpoint([linear(x, w)], (h) => [rmsnorm(add(h, linear(h, w)), weightOnes)]);
          const loss = empty([1], { dtype: 'f64' });
          native.dot({ id: loss.id, beta: 0 }, reshape(y!, [-1]), reshape(y!, [-1]));
          return { losses: [] };
        });
      });
    const weightOnes = parameter(from(new Float32Array(32).fill(1)));
    step();
    const after = memoryOf(cpu);
    for (let i = 0; i < 200; i++) step();
    const end = memoryOf(cpu);
    expect([end.live, end.tensors]).toEqual([after.live, after.tensors]);
    for (const p of [w, x, weightOnes]) p.dispose();
  });

  it('that an op takes for itself goes back to the cache and is used again', () => {
    const cpu = device('cpu');
    const [rows, vocabulary] = [64, 4096];
    const x = random([rows, 8], 1);
    const head = random([vocabulary, 8], 2);
    const targets = from(new Int32Array(rows).fill(3));
    const weights = from(new Float32Array(rows).fill(1));
    const cached = () => {
      linearCrossEntropy(x, head, targets, { weights }).dispose();
      return memoryOf(cpu).cached;
    };
    addon.trimMemory(cpu.index);
    const once = scope(cached);
    expect(once).toBeGreaterThan(rows * vocabulary * 4); // its logits, in f32
    expect(scope(cached)).toBe(once);
    for (const t of [x, head, targets, weights]) t.dispose();
  });

  it('is given back when a step fails half way', () => {
    const cpu = device('cpu');
    const w = weight([4, 4], 1);
    const before = memoryOf(cpu);
    expect(() =>
      scope(() =>
        differentiate(() => {
          linear(random([2, 4], 1), w);
          linear(random([2, 3], 1), w); // the wrong width
          return { losses: [] };
        }),
      ),
    ).toThrow(/K is 3|weight is \[4,4\]/);
    const after = memoryOf(cpu);
    expect([after.live, after.tensors]).toEqual([before.live, before.tensors]);
    expect(recording()).toBe(false);
    w.dispose();
  });

  it('passes to the caller what scope() returns, and releases the rest', () => {
    const cpu = device('cpu');
    const before = memoryOf(cpu).tensors;
    const { kept } = scope(() => {
      zeros([3]);
      return { kept: zeros([2]) };
    });
    expect(memoryOf(cpu).tensors).toBe(before + 1);
    expect([...kept.read()]).toEqual([0, 0]);
    kept.dispose();
    kept.dispose();
    expect(() => kept.read()).toThrow(/released/);
    expect(() => scope(async () => 1)).toThrow(/async/);
  });
});

describe('recording', () => {
  it('is off inside noGrad() and cannot nest', () => {
    const w = weight([2, 2], 1);
    scope(() =>
      differentiate(() => {
        expect(recording()).toBe(true);
        noGrad(() => expect(recording()).toBe(false));
        expect(() => differentiate(() => ({ losses: [] }))).toThrow(/another tape/);
        return { losses: [] };
      }),
    );
    w.dispose();
  });

  it('refuses a loss that is not one number', () => {
    const w = weight([2, 2], 1);
    expect(() => scope(() => differentiate(() => ({ losses: [linear(random([2, 2], 1), w)] })))).toThrow(
      /shape \[2,2\]/,
    );
    w.dispose();
  });
});
