// GET /v1/organization/usage/*, /v1/organization/costs and keygate's own /v1/keygate/usage: answered from roll-ups,
// for admin keys, about their own organization.

import { createRoute } from '@hono/zod-openapi';
import {
  type Authentication,
  type ControlApp,
  type ControlPlaneDeps,
  newApp,
  replies,
} from '../../access/http.ts';
import { REPORTS, type Report } from './model.ts';
import { PageSchema, pageEnd, pageObject } from './objects.ts';
import { readParameters } from './parameters.ts';
import { readReport } from './read.ts';

export function reportsApi({ store, clock }: ControlPlaneDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  for (const report of REPORTS) {
    const route = createRoute({
      method: 'get',
      path: report.path,
      tags: ['Usage'],
      description: report.about,
      parameters: described(report),
      middleware: [admin] as const,
      responses: replies(PageSchema, 'A page of buckets, oldest first.'),
    });
    app.openapi(route, async (c) => {
      const { organizationId } = c.get('principal');
      const parameters = readParameters(report, c.req.queries(), clock.now());
      const read = await readReport(store, organizationId, report.kind, parameters, pageEnd(parameters));
      return c.json(pageObject(report, parameters, read), 200);
    });
  }
  return app;
}

/** For the OpenAPI document: parameters.ts reads them, because lists come with and without brackets. */
function described(report: Report) {
  const query = (name: string, schema: object, description: string, required = false) => ({
    name,
    in: 'query' as const,
    required,
    description,
    schema,
  });
  const integer = { type: 'integer' as const };
  const strings = { type: 'array' as const, items: { type: 'string' as const } };
  const widths = report.kind.of === 'costs' ? ['1d'] : ['1m', '1h', '1d'];
  return [
    query('start_time', integer, 'Unix time in seconds; its bucket is the first.', true),
    query('end_time', integer, 'Unix time in seconds, exclusive; default now.'),
    query('bucket_width', { type: 'string', enum: widths, default: '1d' }, 'Buckets of UTC.'),
    query(
      'group_by',
      { type: 'array', items: { type: 'string', enum: [...report.groups] } },
      'A result for each.',
    ),
    ...report.filters.map((name) => query(name, strings, `Only these ${name.replace('_', ' ')}.`)),
    ...(report.batchFilter
      ? [query('batch', { type: 'boolean' }, 'Only batches, or only what is none.')]
      : []),
    query('limit', integer, 'Buckets a page has at most.'),
    query('page', { type: 'string' }, 'The `next_page` of the reply before.'),
    query('include_test', { type: 'boolean', default: false }, 'keygate’s own: calls of test keys too.'),
  ];
}
