import { TrainMoeError } from '../../../errors.js';
import { type Reward, value } from '../types.js';

/** Scripts a language is written in. Languages that share a script cannot be told apart by this reward. */
// biome-ignore format: a table
const SCRIPTS: Readonly<Record<string, readonly string[]>> = {
  en: ['Latin'], de: ['Latin'], fr: ['Latin'], es: ['Latin'], it: ['Latin'], pt: ['Latin'], nl: ['Latin'], pl: ['Latin'],
  tr: ['Latin'], vi: ['Latin'], id: ['Latin'], sw: ['Latin'], ru: ['Cyrillic'], uk: ['Cyrillic'], bg: ['Cyrillic'],
  el: ['Greek'], zh: ['Han'], ja: ['Han', 'Hiragana', 'Katakana'], ko: ['Hangul'], ar: ['Arabic'], fa: ['Arabic'],
  he: ['Hebrew'], hi: ['Devanagari'], bn: ['Bengali'], te: ['Telugu'], th: ['Thai'],
};

/** Writing without spaces: each character counts as a word. */
const UNSPACED = String.raw`\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai}`;
/** Formulas, code and commands belong to no language. */
const NEUTRAL = /\$[^$]*\$|`[^`]*`|\\[A-Za-z]+|<\/?(?:think|answer)>/g;

/**
 * The share of words in the target language's script, in [0, 1]; 1 where there are no words. DeepSeek-R1 adds the share
 * of target-language words of the chain of thought to the reward (section 2.3.2).
 * @param options.language ISO 639-1, default "en"
 * @throws TrainMoeError for a language whose script is not known
 */
export function language(options: { readonly language?: string } = {}): Reward {
  const target = options.language ?? 'en';
  const scripts = Object.hasOwn(SCRIPTS, target) ? SCRIPTS[target] : undefined;
  if (!scripts) {
    const known = Object.keys(SCRIPTS).join(', ');
    throw new TrainMoeError('bad-config', `The language reward does not know "${target}"; it knows ${known}.`);
  }
  const words = new RegExp(String.raw`(?:${UNSPACED})|(?:(?!${UNSPACED})[\p{L}\p{M}])+`, 'gu');
  const own = new RegExp(`^(?:${scripts.map((script) => `\\p{Script=${script}}`).join('|')})`, 'u');
  return {
    name: 'language',
    score({ completion }) {
      let total = 0;
      let ours = 0;
      for (const [word] of completion.replace(NEUTRAL, ' ').matchAll(words)) {
        if (word.length === 1 && /[A-Za-z]/.test(word)) continue; // a variable
        total++;
        if (own.test(word)) ours++;
      }
      return value(total === 0 ? 1 : ours / total, { words: total });
    },
  };
}
