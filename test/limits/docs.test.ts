import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { DEFAULT_TABLE } from '../../src/limits/default-table.ts';
import { DIMENSION_NAMES } from '../../src/limits/model.ts';
import { parseTables } from '../../src/limits/tables.ts';

const page = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8');

describe('docs/limits.md', () => {
  test('shows a table that is accepted', () => {
    const yaml = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const tables = parseTables(parse(yaml));
    expect(tables.tiers.map((tier) => tier.name)).toEqual(['free', '1']);
    expect(tables.endUsers.size).toBe(1);
  });

  test('names every dimension', () => {
    for (const dimension of DIMENSION_NAMES) expect(page).toContain(`| \`${dimension}\` |`);
  });

  test('states the default table as it is', () => {
    for (const { name, paid_usd = 0, days = 0, limits } of DEFAULT_TABLE.tiers) {
      const line = limits['*'];
      const figures = [line?.requests_per_minute, line?.tokens_per_minute].map((each) =>
        each?.toLocaleString('en-US'),
      );
      expect(page).toContain(
        `| ${name} | $${paid_usd.toLocaleString('en-US')} | ${days} | ${figures.join(' | ')} |`,
      );
    }
  });
});
