import { readFileSync } from 'node:fs';
import { TrainMoeError } from '../errors.js';
import { ioError } from '../hub/io_error.js';
import { isSettings, type Layer } from './layers.js';

/**
 * Reads a configuration file: JSON, with // and block comments and trailing commas allowed.
 * @throws TrainMoeError `not-found` when there is none, `io` when it cannot be read, `bad-config` with line and column when it does not parse.
 */
export function readConfigFile(path: string): Layer {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw ioError('read the configuration', path, cause);
  }
  return { source: path, values: parseConfigText(text, path) };
}

/** Parses the text of a configuration file; `path` names it in errors. */
export function parseConfigText(text: string, path: string): Layer['values'] {
  let value: unknown;
  try {
    value = JSON.parse(blankComments(text.replace(/^\uFEFF/, ' ')));
  } catch (cause) {
    throw new TrainMoeError('bad-config', `The configuration ${path} is not JSON: ${(cause as Error).message}.`, {
      cause,
    });
  }
  if (!isSettings(value))
    throw new TrainMoeError(
      'bad-config',
      `The configuration ${path} must be an object of settings like {"train": {"steps": 200}}.`,
    );
  return value;
}

/** Comments and trailing commas, or a string, which is left alone: no comment starts inside one. */
const commentOrString = /"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*.*?\*\/|,(?=(?:\s|\/\/[^\n]*|\/\*.*?\*\/)*[}\]])/gs;

/** Replaces comments and trailing commas by spaces of the same length, so that positions in errors stay true. */
export function blankComments(text: string): string {
  return text.replace(commentOrString, (found) => (found.startsWith('"') ? found : found.replace(/[^\n]/g, ' ')));
}
