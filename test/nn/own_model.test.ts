import { describe, expect, it } from 'vitest';
import {
  AdamW,
  checkpoint,
  createModel,
  deepseekV3,
  device,
  differentiate,
  disposeModel,
  forward,
  from,
  grad,
  gradientOf,
  memoryOf,
  native,
  nn,
  ops,
  parameter,
  record,
  scope,
  type Tensor,
  tensorsIn,
  zeros,
} from '../../src/index.js';

/** What a program can build of the public blocks and ops alone: a small network, an op and a loss of its own. */

const cpu = device('cpu');
const width = 8;
const specs = {
  layers: [nn.feedSpec(width, 16, 0.3), nn.feedSpec(width, 16, 0.3)],
  norm: nn.vector(width, 1),
  out: nn.matrix([1, width], 0.3),
};
type Net = nn.Weights<typeof specs>;

/** y = |x|: an op of one's own, with its way back. */
function magnitude(x: Tensor): Tensor {
  const signs = from(x.read().map(Math.sign), x.shape);
  const y = zeros(x.shape);
  native.multiply({ id: y.id, beta: 0 }, x, signs);
  return record('magnitude', [x], y, (dy) => native.multiply(grad(x), dy, signs));
}

function net(w: Net, x: Tensor): Tensor {
  for (const layer of w.layers) [x] = checkpoint([x], (h) => [ops.add(h, nn.feed(layer, h))] as const) as [Tensor];
  return ops.linear(ops.rmsnorm(x, w.norm), w.out);
}

const meanSquare = (y: Tensor, target: Tensor): Tensor => {
  const error = ops.add(y, ops.scale(target, -1));
  return ops.weightedSum(ops.multiply(error, error), from(new Float32Array(y.size).fill(1 / y.size), y.shape));
};

describe('a model of one’s own', () => {
  it('has the gradients of finite differences, through an op of its own and a checkpoint', () => {
    const weights = nn.initialize(specs, { device: cpu, dtype: 'f32', seed: 3 });
    const x = nn.initialize({ x: nn.matrix([5, width], 1) }, { device: cpu, dtype: 'f32', seed: 4, train: false }).x;
    const ones = from(new Float32Array(5).fill(0.2), [5, 1]);
    const loss = () => scope(() => ops.weightedSum(magnitude(net(weights, x)), ones).item());
    differentiate(() => ({ losses: [ops.weightedSum(magnitude(net(weights, x)), ones)] })).losses[0]!.dispose();
    for (const tensor of tensorsIn(weights)) {
      const gradient = gradientOf(tensor)!.read();
      const values = tensor.read();
      for (const i of [0, values.length - 1]) {
        const at = (step: number) => {
          tensor.write(values.with(i, values[i]! + step));
          return loss();
        };
        const numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
        tensor.write(values);
        expect(gradient[i]).toBeCloseTo(numeric, 3);
      }
    }
    for (const tensor of [...tensorsIn(weights), x, ones]) tensor.dispose();
  });

  it('learns with AdamW, whose settings are those of the reports unless they are given, and leaves no memory behind', () => {
    const before = memoryOf(cpu);
    const weights = nn.initialize(specs, { device: cpu, dtype: 'f32', seed: 1 });
    const optimizer = new AdamW(nn.trainedOf(specs, weights), { decay: 0 });
    expect(optimizer.config).toMatchObject({ beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0, moments: 'f32' });
    const inputs = Float32Array.from({ length: 32 * width }, (_, i) => Math.sin(i * 12.9898) * 2);
    const x = from(inputs, [32, width]);
    const target = from(
      Float32Array.from({ length: 32 }, (_, r) => inputs[r * width]! * inputs[r * width + 1]!),
      [32, 1],
    );
    const losses = Array.from({ length: 150 }, () => {
      optimizer.resetGradients();
      const [loss] = differentiate(() => ({ losses: [meanSquare(net(weights, x), target)] as const })).losses;
      optimizer.clip(1);
      optimizer.step(1e-2);
      const value = loss.item();
      loss.dispose();
      return value;
    });
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 20);
    optimizer.dispose();
    for (const tensor of [...tensorsIn(weights), x, target]) tensor.dispose();
    expect(memoryOf(cpu)).toMatchObject({ live: before.live, tensors: before.tensors });
  });

  it('names the parameters that an optimizer trains, without buffers', () => {
    const some = { gain: nn.vector(4, 1), bias: nn.vector(4, 0, { buffer: true }), m: [nn.matrix([2, 4], 1)] };
    const weights = nn.initialize(some, { device: cpu, dtype: 'f32', seed: 1 });
    const trained = nn.trainedOf(some, weights).map(({ name, decay, tensor }) => [name, decay, tensor.shape]);
    expect(trained).toEqual([
      ['gain', false, [4]],
      ['m.0', true, [2, 4]],
    ]);
    for (const tensor of tensorsIn(weights)) tensor.dispose();
  });
});

describe('a model of a known family', () => {
  it('takes a typed configuration of one’s own, and trains', () => {
    const config = { ...deepseekV3.presets.micro!, vocabulary: 40, layers: 2, context: 32 };
    // @ts-expect-error a size that there is not
    const none = () => createModel(deepseekV3, { ...config, hiden: 8 }, { device: cpu, dtype: 'f32' });
    expect(none).toBeTypeOf('function');
    const model = createModel(deepseekV3, config, { device: cpu, dtype: 'f32', seed: 1, train: true });
    const optimizer = new AdamW(nn.trainedOf(deepseekV3.specs(config), model.weights));
    const inputIds = Int32Array.from({ length: 16 }, (_, i) => (7 * i) % 40);
    const inputs = { shape: [1, 16], inputIds, labels: inputIds } as const;
    const losses = [0, 1, 2, 3].map(() => {
      const { loss } = forward(model, inputs, cpu, true);
      optimizer.step(1e-2);
      return loss!;
    });
    expect(losses[0]).toBeCloseTo(Math.log(40), 0);
    expect(losses[3]).toBeLessThan(losses[0]! / 2);
    optimizer.dispose();
    disposeModel(model);
  });
});

describe('weightedSum', () => {
  it('is the dot product in f64, and gives the weights as gradient', () => {
    const x = parameter(from([1, 2, 3, 4], [2, 2]));
    const weights = from([0.5, 0, -1, 2], [2, 2]);
    const { losses } = differentiate(() => ({ losses: [ops.weightedSum(ops.scale(x, 3), weights)] as const }));
    expect(losses[0].dtype).toBe('f64');
    expect(losses[0].item()).toBe(3 * (0.5 - 3 + 8));
    expect([...gradientOf(x)!.read()]).toEqual([1.5, 0, -3, 6]);
    for (const tensor of [x, weights, losses[0]]) tensor.dispose();
  });

  it('refuses shapes and types that do not fit', () => {
    expect(() => ops.weightedSum(from([1, 2]), from([1, 2, 3]))).toThrow(/dot: b is \[3\], but N is 2/);
    expect(() => ops.weightedSum(from([1, 2], [2], { dtype: 'bf16' }), from([1, 2]))).toThrow(/bf16/);
  });
});
