import { describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import type * as inputs from '../../src/config/inputs.gen.js';
import { inputTypes, type schemas } from './inputs.js';

/** Readonly at every depth. */
type Frozen<T> = T extends readonly (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

type FromSchema<Name extends keyof typeof schemas> = Frozen<z.input<(typeof schemas)[Name][0]>>;

describe('the types of settings', () => {
  it('are those of the schemas, with what each setting means', async () => {
    await expect(inputTypes()).toMatchFileSnapshot('../../src/config/inputs.gen.ts');
  });

  it('say the same as the schemas to the compiler', () => {
    expectTypeOf<inputs.RunConfigInput>().branded.toEqualTypeOf<FromSchema<'RunConfigInput'>>();
    expectTypeOf<inputs.SftInput>().branded.toEqualTypeOf<FromSchema<'SftInput'>>();
    expectTypeOf<inputs.GrpoInput>().branded.toEqualTypeOf<FromSchema<'GrpoInput'>>();
    expectTypeOf<inputs.RewardModelInput>().branded.toEqualTypeOf<FromSchema<'RewardModelInput'>>();
    expectTypeOf<inputs.DpoInput>().branded.toEqualTypeOf<FromSchema<'DpoInput'>>();
    expectTypeOf<inputs.RejectInput>().branded.toEqualTypeOf<FromSchema<'RejectInput'>>();
    expectTypeOf<inputs.SynthesizeInput>().branded.toEqualTypeOf<FromSchema<'SynthesizeInput'>>();
    expectTypeOf<inputs.R1Input>().branded.toEqualTypeOf<FromSchema<'R1Input'>>();
    expectTypeOf<inputs.ServeInput>().branded.toEqualTypeOf<FromSchema<'ServeInput'>>();
  });
});
