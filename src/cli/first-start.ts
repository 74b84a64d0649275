// What a start says to the person at the terminal; at the first one, the keys that it made, which are shown only then.

import type { Config } from '../config/model.ts';

export interface FirstStart {
  readonly organizationId: string;
  readonly projectId: string;
  /** Null: the administrator gave one (KEYGATE_BOOTSTRAP_ADMIN_KEY). */
  readonly adminKey: string | null;
  readonly projectKey: string | null;
}

export interface Where {
  readonly url: string;
  readonly adminUrl: string;
}

export function startText(version: string, where: Where, dataDir: string, config: Config): string {
  const administration = where.adminUrl === where.url ? '' : `, administration on ${where.adminUrl}`;
  const data = config.databaseUrl === null ? dataDir : 'PostgreSQL';
  const providers = config.providers.map(({ name }) => name).join(', ');
  const reach =
    providers === ''
      ? 'No provider is configured: only the sandbox answers (sandbox-small, sandbox-large, sandbox-embed, …).'
      : `Providers: ${providers}. The sandbox answers for the models sandbox-… only.`;
  return `\nkeygate ${version} listens on ${where.url}${administration}; data in ${data}.\n${reach}\n`;
}

export function firstStartText({ url, adminUrl }: Where, made: FirstStart): string {
  const lines = [
    '',
    `First start: made the organization ${made.organizationId} with the project ${made.projectId}`,
  ];
  const { adminKey, projectKey } = made;
  if (adminKey === null && projectKey === null) {
    lines[1] += ', and took the admin key that was given.';
  } else {
    lines[1] += ' and these keys, which are shown only now:';
    lines.push('');
    if (adminKey !== null) lines.push(`  admin key    ${adminKey}`);
    if (projectKey !== null) lines.push(`  project key  ${projectKey}`);
  }
  const key = projectKey ?? '$(keygate keys create first --quiet)';
  lines.push(
    '',
    'See which models answer:',
    `  curl ${url}/v1/models -H "Authorization: Bearer ${projectKey ?? '$OPENAI_API_KEY'}"`,
    'Point any OpenAI client here:',
    `  export OPENAI_BASE_URL=${url}/v1 OPENAI_API_KEY=${key}`,
    'Manage keys and projects:',
    `  export KEYGATE_URL=${adminUrl} KEYGATE_ADMIN_KEY=${adminKey ?? '<the admin key that was given>'}`,
    '',
  );
  return `${lines.join('\n')}\n`;
}
