import * as native from '../native.gen.js';
import { empty, grad, record, type Tensor } from '../tensor/index.js';

/** y[r] = scale * table[ids[r]]: a token table, or any gather of rows. table [V,C], ids [R] i32 -> [R,C] */
export function embedding(table: Tensor, ids: Tensor, scale = 1): Tensor {
  const y = empty([...ids.shape, table.shape[1]!], table);
  native.embeddingForward(y, table, ids, scale);
  return record('embedding', [table], y, (dy) => native.embeddingBackward(grad(table), dy, ids, scale));
}
