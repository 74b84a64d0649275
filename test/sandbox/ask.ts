// Asks the sandbox without a socket, and reads the plan that it answers with.

import { Tokenizer } from '../../src/spend/count-text.ts';
import { answer, type SandboxRequest } from '../../src/upstreams/sandbox/answer.ts';
import type { Plan, Step } from '../../src/upstreams/sandbox/plan.ts';
import { newSetting, type Setting } from '../../src/upstreams/sandbox/setting.ts';

export const NOW = Date.UTC(2026, 10, 23, 12);

export function setting(): Setting {
  return newSetting(Tokenizer.of('o200k_base'), () => NOW, 'test');
}

export function request(path: string, body: unknown, script = ''): SandboxRequest {
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
  return { method: 'POST', path: `/v1/${path}`, script, body: bytes, form: null };
}

export function planOf(path: string, body: unknown, script = '', at = setting()): Plan {
  return answer(request(path, body, script), at);
}

export interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a reply of any endpoint, read by the test that knows which
  readonly json: any;
}

export function told(plan: Plan): Told {
  const steps = [...plan.steps];
  const parts = steps.flatMap((step) => (step.do === 'send' ? [Buffer.from(step.data)] : []));
  const text = Buffer.concat(parts).toString();
  return {
    status: plan.status,
    headers: plan.headers,
    steps,
    text,
    get json() {
      return JSON.parse(text);
    },
  };
}

/** The reply to a POST of `body`. */
export function ask(path: string, body: unknown, script = '', at = setting()): Told {
  return told(planOf(path, body, script, at));
}

export interface Event {
  readonly name: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: an event of any endpoint, read by the test that knows which
  readonly data: any;
}

/** The events of a stream; one whose data is no JSON, like [DONE], has its text. */
export function events(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const lines = block.split('\n');
      const name = lines.find((line) => line.startsWith('event: '))?.slice(7) ?? null;
      const data = lines.find((line) => line.startsWith('data: '))?.slice(6) ?? '';
      return { name, data: data.startsWith('{') ? JSON.parse(data) : data };
    });
}

export const user = (content: unknown) => [{ role: 'user', content }];
export const hello = { model: 'sandbox-small', messages: user('hello there, how is the weather?') };
