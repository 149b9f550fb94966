import { type ServeConfig, type ServeEvent, serve } from '../../serve/index.js';
import { formatAmount, formatDuration } from '../../terminal/format.js';
import { type Output, styleFor } from '../../terminal/style.js';
import { exitCodes } from '../exit_codes.js';

/** Serves until Ctrl-C or SIGTERM: the first lets the requests that run end, a second one ends at once. */
export async function runServer(config: ServeConfig, output: Output = process.stderr): Promise<void> {
  const view = serveView(output);
  const asked = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve);
  });
  const server = await serve(config, view);
  await asked;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(exitCodes.interrupted));
  if (server.requests > 0)
    output.write(`Ending ${formatAmount(server.requests, 'request')} first; press Ctrl-C again to end at once.\n`);
  await server.close();
}

/** A line for each request. */
export function serveView(output: Output): (event: ServeEvent) => void {
  const { dim, bold, red } = styleFor(output);
  const say = (line: string) => void output.write(`${line}\n`);
  return (event) => {
    switch (event.kind) {
      case 'listening': {
        const f = event.facts;
        if (f.deviceReason) say(dim(f.deviceReason));
        say(
          dim(
            `${f.device}, ${f.dtype}; ${f.parallel} completions at once, ${f.context} tokens a request, ${f.cacheTokens} in the cache`,
          ),
        );
        say(`${bold(f.name)} answers at ${bold(`${f.url}/v1`)}; Ctrl-C ends it.`);
        if (f.open && !/^http:\/\/(127\.|localhost|\[::1\])/.test(f.url))
          say('Anyone who reaches this address may ask; --api-key lets only those who know it.');
        return;
      }
      case 'request': {
        const { method, path, status, seconds, prompt_tokens: prompt, completion_tokens: tokens } = event.request;
        const amounts =
          typeof tokens === 'number' ? `  ${prompt} + ${tokens} tokens, ${(tokens / seconds).toFixed(1)} tok/s` : '';
        return say(dim(`${method} ${path} ${status}  ${formatDuration(seconds)}${amounts}`));
      }
      case 'failed':
        return say(
          red(event.error instanceof Error ? (event.error.stack ?? event.error.message) : String(event.error)),
        );
    }
  };
}
