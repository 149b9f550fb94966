import { z } from 'zod';
import { runConfigSchema } from '../../src/config/index.js';
import { r1Schema } from '../../src/recipes/settings.js';
import { grpoSchema } from '../../src/rl/config.js';
import { rejectSchema, synthesizeSchema } from '../../src/rl/curate/config.js';
import { dpoSchema, rewardModelSchema } from '../../src/rl/preference/config.js';
import { serveSchema } from '../../src/serve/config.js';
import { sftSchema } from '../../src/train/sft/config.js';

/** The schemas by the names of what a person writes of them. */
export const schemas = {
  RunConfigInput: [runConfigSchema, 'Settings of pretrain().'],
  SftInput: [sftSchema, 'Settings of sft().'],
  GrpoInput: [grpoSchema, 'Settings of trainGrpo().'],
  RewardModelInput: [rewardModelSchema, 'Settings of trainRewardModel().'],
  DpoInput: [dpoSchema, 'Settings of trainDpo().'],
  RejectInput: [rejectSchema, 'Settings of reject().'],
  SynthesizeInput: [synthesizeSchema, 'Settings of synthesize().'],
  R1Input: [r1Schema, 'Settings of r1().'],
  ServeInput: [serveSchema, 'Settings of serve().'],
} as const satisfies Readonly<Record<string, readonly [z.ZodType, string]>>;

/** A setting as the schema's JSON form describes it. */
interface Setting {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly items?: Setting;
  readonly anyOf?: readonly Setting[];
  readonly properties?: Readonly<Record<string, Setting>>;
  readonly required?: readonly string[];
}

/** The text of src/config/inputs.gen.ts: types of the settings, with their descriptions where an editor shows them. */
export function inputTypes(): string {
  const interfaces = Object.entries(schemas).map(([name, [schema, sentence]]) => {
    const setting = z.toJSONSchema(schema, { io: 'input' }) as Setting;
    return `/** ${sentence} */\nexport interface ${name} ${typeOf(setting, '')}\n`;
  });
  const head = '// Generated from the schemas by `npx vitest run test/config/inputs.test.ts -u`. Do not edit.';
  return [head, ...interfaces].join('\n');
}

function typeOf({ type, enum: values, items, anyOf, properties, required }: Setting, indent: string): string {
  if (anyOf) return anyOf.map((each) => typeOf(each, indent)).join(' | ');
  if (values) return values.map((value) => `'${value}'`).join(' | ');
  if (type === 'array') return `readonly ${items?.enum ? `(${typeOf(items, indent)})` : typeOf(items!, indent)}[]`;
  if (properties) {
    const inner = `${indent}  `;
    const members = Object.entries(properties).map(([name, setting]) => {
      const optional = !required?.includes(name);
      const member = `readonly ${name}${optional ? '?' : ''}: ${typeOf(setting, inner)}${optional ? ' | undefined' : ''};`;
      return `${comment(setting, inner)}${inner}${member}\n`;
    });
    return `{\n${members.join('')}${indent}}`;
  }
  if (type === 'object') return 'Readonly<Record<string, unknown>>';
  return type === 'integer' ? 'number' : type!;
}

/** The description as a sentence, with the default where that is a plain value. */
function comment({ description, default: preset }: Setting, indent: string): string {
  const sentence = description && `${description[0]!.toUpperCase()}${description.slice(1)}.`;
  const plain = preset !== undefined && typeof preset !== 'object';
  const words = [sentence, plain && `Default ${JSON.stringify(preset)}.`].filter(Boolean).join(' ').split(' ');
  if (words.join('') === '') return '';
  const lines = [''];
  for (const word of words)
    if (`${lines.at(-1)} ${word}`.length > 108 - indent.length) lines.push(word);
    else lines[lines.length - 1] = `${lines.at(-1)} ${word}`.trim();
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join('')}${indent} */\n`;
}
