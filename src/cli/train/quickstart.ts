import type { RunConfig } from '../../config/index.js';
import { styleFor } from '../../terminal/style.js';
import { type Generated, generateTexts } from '../model/generate.js';
import { openModel, openTokenizer } from '../model/open.js';
import { printJson } from '../output.js';
import { runTraining } from './run.js';

/** Openings that speeches, the default text, go on from well; any text model says something to them. */
const PROMPTS = ['The people of the United States', 'In the past year, ', 'We must '] as const;

/** Trains as configured, then shows what the model writes and what to do next. */
export async function runQuickstart(config: RunConfig, { json }: { readonly json: boolean }): Promise<void> {
  const end = await runTraining(config, { json });
  if (end.stopped) return;
  const from = { model: config.out, device: config.device, dtype: 'f32', threads: config.threads };
  const opened = openModel(from);
  const tokenizer = openTokenizer({ model: config.out, tokenizer: config.tokenizer.path });
  const samples = PROMPTS.map(
    (prompt) => generateTexts(opened, tokenizer, prompt, { maxTokens: 60, temperature: 0.7, topP: 0.95 })[0]!,
  );
  if (json) {
    const { losses, loads, ...figures } = end;
    return printJson({ ...figures, finalLoss: losses.at(-1)?.[1], samples });
  }
  for (const line of closing(config, samples)) process.stdout.write(`${line}\n`);
}

function closing({ out, preset }: RunConfig, samples: readonly Generated[]): string[] {
  const { bold, dim } = styleFor(process.stdout);
  return [
    '',
    bold('What it writes'),
    ...samples.map(({ prompt, text }) => `  ${bold(prompt)}${text.replaceAll('\n', ' ')}`),
    '',
    bold('What to try next'),
    `  npx train-moe generate --model ${out} "My fellow citizens"   ${dim('go on from a text of yours')}`,
    `  npx train-moe pretrain --preset ${preset === 'micro' ? 'nano' : preset} --data my-texts/ --out runs/mine   ${dim('your own text, a larger model')}`,
    `  npx train-moe r1   ${dim('a base that mostly guesses becomes a model that reasons, stage by stage, with a report')}`,
    `  npx train-moe --steps 2000   ${dim('train this one for longer: it goes on where it stopped')}`,
    `  npx train-moe export --model ${out} --out my-model   ${dim('a Hugging Face folder')}`,
  ];
}
