import { z } from 'zod';

/**
 * The `model` section. The families own their configurations (src/models), so this is the one place where their schemas
 * enter the run configuration.
 */
export const modelSchema = z.record(z.string(), z.unknown());
