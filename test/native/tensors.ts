export { device, empty, from, memoryOf, scope, tagged, zeros } from '../../src/tensor/index.js';
export { window } from '../../src/tensor/tensor.js';
