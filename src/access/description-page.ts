// The description as a page: every operation with what it takes and gives, and a call to copy. It is text and style
// only, so that it reads without JavaScript, prints, and runs nothing in an administrator's browser.

import { html, raw } from 'hono/html';
import { z } from 'zod';
import { type Field, fieldsOf, type Schemas, typeOf } from './description-fields.ts';

const Content = z.record(z.string(), z.looseObject({ schema: z.unknown() }));
const Reply = z.looseObject({ description: z.string(), content: Content.optional() });
const Operation = z.looseObject({
  tags: z.string().array().default([]),
  summary: z.string().optional(),
  description: z.string().optional(),
  parameters: z
    .looseObject({
      name: z.string(),
      in: z.string(),
      required: z.boolean().default(false),
      description: z.string().optional(),
      schema: z.unknown(),
    })
    .array()
    .default([]),
  requestBody: z.looseObject({ content: Content }).optional(),
  responses: z.record(z.string(), Reply),
});
type Operation = z.infer<typeof Operation>;
type Reply = z.infer<typeof Reply>;

const Description = z.looseObject({
  info: z.looseObject({ title: z.string(), description: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), Operation)),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).default({}) }),
});

interface Route {
  readonly method: string;
  readonly path: string;
  readonly id: string;
  readonly operation: Operation;
}

type Html = ReturnType<typeof html>;

/** The page of an OpenAPI document that this server made. */
export function descriptionPage(document: unknown): string {
  const { info, paths, components } = Description.parse(document);
  const groups = new Map<string, Route[]>();
  for (const [path, operations] of Object.entries(paths)) {
    for (const [verb, operation] of Object.entries(operations)) {
      const method = verb.toUpperCase();
      const id = `${verb}-${path.replaceAll(/[^a-z0-9]+/gi, '-').replaceAll(/^-|-$/g, '')}`;
      const tag = operation.tags[0] ?? 'Other';
      groups.set(tag, [...(groups.get(tag) ?? []), { method, path, id, operation }]);
    }
  }
  return String(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${info.title}</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<nav aria-label="Operations">
<p class="name">keygate</p>
${[...groups].map(([tag, routes]) => contents(tag, routes))}
</nav>
<main>
<h1>${info.title}</h1>
<p>${info.description} Send an admin key: <code>Authorization: Bearer sk-admin-&hellip;</code>. The same as an
<a href="openapi.json">OpenAPI 3.1 document</a>.</p>
<p>A refusal has the shape <code>{"error": {"message", "type", "param", "code"}}</code>: 400 names the field in
<code>param</code>, 401 is a key that will not do, 403 a valid key without the right, 404 an object that is not in this
organization or project, 503 a store that cannot be reached just now. Lists take <code>limit</code> and
<code>after</code>.</p>
${[...groups].map(([tag, routes]) => group(tag, routes, components.schemas))}
</main>
</body>
</html>`);
}

function contents(tag: string, routes: readonly Route[]): Html {
  return html`<details open><summary>${tag}</summary><ul>
${routes.map(
  ({ method, path, id }) =>
    html`<li><a href="#${id}"><b class="${method}">${method}</b> ${path.replace('/v1/', '')}</a></li>`,
)}</ul></details>`;
}

function group(tag: string, routes: readonly Route[], schemas: Schemas): Html {
  return html`<section><h2>${tag}</h2>${routes.map((route) => article(route, schemas))}</section>`;
}

function article({ method, path, id, operation }: Route, schemas: Schemas): Html {
  const reply = operation.responses['200'];
  const body = operation.requestBody?.content['application/json']?.schema;
  const parameters: Field[] = operation.parameters.map((one) => ({
    path: one.name,
    required: one.required,
    type: `${typeOf(one.schema, schemas)} (${one.in})`,
    about: one.description ?? '',
  }));
  const about = operation.description ?? operation.summary;
  return html`<article id="${id}">
<h3><a href="#${id}"><b class="${method}">${method}</b> <code>${path}</code></a></h3>
${about === undefined ? '' : html`<p>${about}</p>`}
${parameters.length > 0 ? table('Parameters', parameters) : ''}
${body === undefined ? '' : table('Body', fieldsOf(body, schemas))}
<pre>${example(method, path, body, schemas)}</pre>
${reply === undefined ? '' : replyOf(reply, schemas)}
</article>`;
}

function replyOf({ description, content }: Reply, schemas: Schemas): Html {
  const fields = fieldsOf(content?.['application/json']?.schema, schemas);
  if (fields.length === 0) return html`<p>${description}</p>`;
  return html`<details><summary>Reply: ${description}</summary>${table('', fields)}</details>`;
}

function table(title: string, fields: readonly Field[]): Html {
  return html`${title === '' ? '' : html`<h4>${title}</h4>`}<table>
${fields.map(
  ({ path, required, type, about }) =>
    html`<tr><th scope="row"><code>${path}</code>${required ? html`<em>required</em>` : ''}</th><td>${type}</td><td>${about}</td></tr>`,
)}</table>`;
}

/** A call to copy, with the members that are required. */
function example(method: string, path: string, body: unknown, schemas: Schemas): string {
  const lines = [`curl ${method === 'GET' ? '' : `-X ${method} `}"$KEYGATE_URL${path}"`];
  lines.push('  -H "Authorization: Bearer $KEYGATE_ADMIN_KEY"');
  if (body !== undefined) {
    const needed = fieldsOf(body, schemas).filter(({ path: at, required }) => required && !/[.[]/.test(at));
    const members = needed.map(({ path: at, type }) => `"${at}": ${sample(type)}`);
    lines.push(`  -H "Content-Type: application/json" -d '{${members.join(', ')}}'`);
  }
  return lines.join(' \\\n');
}

function sample(type: string): string {
  const literal = /^(?:one of )?("[^"]*"|\d+)/.exec(type)?.[1];
  if (literal !== undefined) return literal;
  if (type.startsWith('list')) return '[…]';
  if (type.startsWith('integer') || type.startsWith('number')) return '1';
  if (type.startsWith('boolean')) return 'true';
  return type.startsWith('object') ? '{…}' : '"…"';
}

export const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d9dde3, #343a43); --soft: light-dark(#f5f6f8, #1d2127);
  --quiet: light-dark(#57606a, #9aa4b0); --link: light-dark(#0b5cad, #7ab8ff) }
* { box-sizing: border-box }
body { margin: 0; display: grid; grid-template-columns: 21rem minmax(0, 1fr); background: light-dark(#fff, #14171b);
  font: 15px/1.55 system-ui, sans-serif; color: light-dark(#1c2127, #e4e7eb) }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.2rem; border-right: 1px solid var(--line) }
nav ul { list-style: none; margin: 0 0 .8rem; padding: 0 }
nav li { overflow-wrap: anywhere; font-size: 12.5px; line-height: 1.35; padding: .15rem 0 }
nav summary { cursor: pointer; font-weight: 600; padding: .2rem 0 }
.name { font-weight: 700; font-size: 1.15rem; margin: 0 0 .8rem }
main { padding: 1.6rem 2.2rem 6rem; max-width: 62rem }
h1 { font-size: 1.6rem; margin: 0 0 .6rem }
h2 { margin: 2.6rem 0 .4rem; font-size: 1.25rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem }
h3 { margin: 1.8rem 0 .2rem; font-size: 1rem; font-weight: 500 }
h4 { margin: 1rem 0 .2rem; font-size: .85rem; color: var(--quiet); font-weight: 600 }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
code, pre { font: 13px/1.5 ui-monospace, monospace }
pre { background: var(--soft); padding: .7rem .9rem; overflow: auto; border-radius: 6px }
table { border-collapse: collapse; width: 100%; font-size: 13.5px }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere }
th { font-weight: 400; width: 32% } td:nth-child(2) { width: 30%; color: var(--quiet) }
em { color: light-dark(#a4420a, #ffab70); font-size: 11.5px; margin-left: .5rem; font-style: normal }
b { font-size: 11px; letter-spacing: .03em; padding: .05rem .3rem; border-radius: 4px; background: var(--soft) }
.GET { color: light-dark(#0a6b35, #6fdd9b) } .POST { color: light-dark(#0b5cad, #7ab8ff) }
.DELETE { color: light-dark(#b3261e, #ff8a80) }
details summary { cursor: pointer; color: var(--quiet) }
@media (max-width: 54rem) { body { display: block } nav { position: static; height: auto; border: 0 }
  main { padding: 1rem } }
`;
