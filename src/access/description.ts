// The description of the control plane, made from its routes: as an OpenAPI 3.1 document for programs, and as a page for
// people. It holds no secret and wants no key. Few look, and it takes 10 MB to make: it is made when somebody does.

import { hash } from 'node:crypto';
import { descriptionPage, STYLE } from './description-page.ts';
import type { ControlApp } from './http.ts';

export const DESCRIPTION_PATH = '/v1/keygate/openapi.json';
export const PAGE_PATH = '/v1/keygate/docs';

/** The page runs no script and fetches nothing; its one style sheet is named by its digest (CSP level 3, 2.3.1). */
const POLICY = `default-src 'none'; style-src 'sha256-${hash('sha256', STYLE, 'base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** To be called when every route is there. */
export function serveDescription(app: ControlApp): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'AdminApiKeyAuth', {
    type: 'http',
    scheme: 'bearer',
  });
  let made: string | null = null;
  const description = (): string => {
    made ??= JSON.stringify(
      app.getOpenAPI31Document({
        openapi: '3.1.0',
        info: {
          title: 'keygate control plane',
          version: '1',
          description:
            'The Administration API that the official OpenAI clients speak, and keygate’s own routes.',
        },
        security: [{ AdminApiKeyAuth: [] }],
      }),
    );
    return made;
  };
  let page: string | null = null;
  app.get(DESCRIPTION_PATH, (c) => {
    c.header('content-type', 'application/json');
    return c.body(description());
  });
  app.get(PAGE_PATH, (c) => {
    page ??= descriptionPage(JSON.parse(description()));
    c.header('content-security-policy', POLICY);
    c.header('x-content-type-options', 'nosniff');
    c.header('referrer-policy', 'no-referrer');
    return c.html(page);
  });
}
