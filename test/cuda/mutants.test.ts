import { noticeMutants } from './plant.js';

/* Is the emulator any good? Every planted bug must be noticed. Here: all files but those of `mutants_products.test.ts`. */

noticeMutants((file) => !/^(gemm|attention)/.test(file));
