import { z } from 'zod';

/**
 * The `model` section: a path, or overrides of a preset. The families own their configurations (src/models), so this is the
 * one place where their schemas enter the run configuration.
 */
export const modelSchema = z.union([z.string().min(1), z.record(z.string(), z.unknown())]);
