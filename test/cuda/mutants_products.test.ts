import { noticeMutants } from './plant.js';

/* Planted bugs in the products and attention. */

noticeMutants((file) => /^(gemm|attention)/.test(file));
