import { type Device, from, permanent, type Shape, type Tensor } from '../tensor/index.js';

const tables = new Map<string, Tensor>();

/** A table of constants on a device, made once per `key` and kept for the life of the process. */
export function tableFor(key: readonly unknown[], shape: Shape, device: Device, make: () => Float32Array): Tensor {
  const name = JSON.stringify([...key, shape, device.name]);
  let table = tables.get(name);
  if (!table) {
    table = permanent(() => from(make(), shape, { device }));
    tables.set(name, table);
  }
  return table;
}
