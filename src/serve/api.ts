import { type Answering, begin } from './answers.js';
import type { Request, Route } from './http.js';
import { Refusal } from './refusal.js';
import { type Abilities, type Asked, readChat, readText } from './requests.js';

/** The routes of OpenAI's API that a language model can answer, and `/health`. */
export function openAiRoutes(can: Abilities, how: Answering, created: number): Route[] {
  const model = { id: how.name, object: 'model', created, owned_by: 'train-moe', max_model_len: can.context };
  const complete = (read: (body: unknown, can: Abilities) => Asked) => (request: Request) =>
    answered(request, read, can, how);
  return [
    {
      method: 'GET',
      path: '/health',
      async handle(request) {
        request.send({ status: 'ok', model: how.name, requests: how.driver.jobs });
      },
    },
    {
      method: 'GET',
      path: '/v1/models',
      async handle(request) {
        request.send({ object: 'list', data: [model] });
      },
    },
    {
      method: 'GET',
      path: '/v1/models/',
      async handle(request) {
        refuseOther(request.rest, how.name);
        request.send(model);
      },
    },
    { method: 'POST', path: '/v1/chat/completions', handle: complete(readChat) },
    { method: 'POST', path: '/v1/completions', handle: complete(readText) },
  ];
}

async function answered(
  request: Request,
  read: (body: unknown, can: Abilities) => Asked,
  can: Abilities,
  how: Answering,
): Promise<void> {
  const body = await request.json();
  const named = (body as { readonly model?: unknown } | null)?.model;
  if (typeof named === 'string') refuseOther(named, how.name);
  const asked = read(body, can);
  let events: ReturnType<Request['events']> | undefined; // begun with the first piece: until then an error has a status
  const write = (chunk: object | '[DONE]') => {
    events ??= request.events();
    return events.write(chunk);
  };
  const answer = begin(asked, how, write);
  request.tell(answer.usage);
  request.onLeave(answer.cancel);
  const whole = await answer.done;
  if (!asked.stream) return request.send(whole);
  await write('[DONE]');
  events?.end();
}

function refuseOther(asked: string, name: string): void {
  if (asked === name) return;
  const details = { param: 'model', code: 'model_not_found' };
  throw new Refusal(404, `There is no model ${asked}; this server has ${name}.`, details);
}
