import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** The tests that need a GPU, one file after another: they share one device. `npm run test:gpu` runs them. */
export default defineConfig({
  test: {
    root: join(fileURLToPath(new URL('.', import.meta.url)), '..', '..'),
    include: ['test/gpu/*.gpu.ts'],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    pool: 'forks',
    fileParallelism: false,
  },
});
