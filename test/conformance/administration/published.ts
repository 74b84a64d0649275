// The published description of the API, where this machine has it: which operation a request was, and the schema of its
// reply. It is not part of this project; KEYGATE_PUBLISHED_DESCRIPTION names the file.

import { existsSync, readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { z } from 'zod';

const FILE = process.env['KEYGATE_PUBLISHED_DESCRIPTION'] ?? '../shared/reference/openai-openapi.json';

export const isPublishedHere = existsSync(FILE);

const Description = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), z.unknown())),
});

const Operation = z.looseObject({
  responses: z.looseObject({
    '200': z.looseObject({
      content: z.looseObject({ 'application/json': z.looseObject({ schema: z.unknown() }) }).optional(),
    }),
  }),
});

/** Says what is wrong with a reply; null: nothing; undefined: the description does not have the operation. */
export type Check = (verb: string, path: string, body: unknown) => string | null | undefined;

export function readPublished(): Check {
  const text = readFileSync(FILE, 'utf8');
  const description = Description.parse(JSON.parse(text));
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema(description, 'published');
  const templates = Object.keys(description.paths).map((template) => ({
    template,
    pattern: new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
    parameters: template.split('{').length,
  }));
  // The most literal template is the one that is meant.
  templates.sort((a, b) => a.parameters - b.parameters);
  return (verb, path, body) => {
    const below = path.replace(/^\/v1/, '');
    const found = templates.find(
      ({ template, pattern }) =>
        pattern.test(below) && description.paths[template]?.[verb.toLowerCase()] !== undefined,
    );
    if (found === undefined) return undefined;
    const operation = Operation.safeParse(description.paths[found.template]?.[verb.toLowerCase()]);
    if (!operation.success || operation.data.responses['200'].content === undefined) return undefined;
    const pointer = ['paths', found.template, verb.toLowerCase(), 'responses', '200', 'content']
      .concat('application/json', 'schema')
      .map((step) => encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1')))
      .join('/');
    const validate = ajv.getSchema(`published#/${pointer}`);
    if (validate === undefined) throw new Error(`No schema for ${verb} ${found.template}`);
    return validate(body) === true ? null : ajv.errorsText(validate.errors?.slice(0, 6) ?? []);
  };
}
