import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { add } from '../../src/ops/add.js';
import { AdamW } from '../../src/optim/adamw.js';
import { device, from, memoryOf, parameter } from '../../src/tensor/index.js';

const cpu = device('cpu');
const held = () => memoryOf(cpu).tensors;

describe('a tensor', () => {
  it('shows its type and shape instead of its handle', () => {
    const x = from([1, 2, 3, 4, 5, 6], [2, 3]);
    expect(inspect({ x })).toBe(`{ x: Tensor f32[2,3] on ${cpu.name} }`);
    x.dispose();
    expect(inspect(x)).toBe(`Tensor f32[2,3] on ${cpu.name}, released`);
  });

  it('that was released is told so by an op', () => {
    const [x, y] = [from([1]), from([2])];
    y.dispose();
    expect(() => add(x, y)).toThrow(
      'add: b is missing, or it was released already; keep() a tensor or use it inside its scope.',
    );
    x.dispose();
  });

  it('goes with its block when it is declared with `using`, and so does an optimizer', () => {
    const before = held();
    {
      using x = parameter(from([1, 2]));
      using optimizer = new AdamW([{ name: 'x', tensor: x, decay: false }]);
      expect(optimizer.steps).toBe(0);
      expect(held()).toBeGreaterThan(before + 1);
    }
    expect(held()).toBe(before);
  });
});
