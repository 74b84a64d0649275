// The reports: which there are, what each can be grouped and filtered by, and how a dollar is written.
//
// The shapes and the rules of the parameters are the published API's (usage and costs of the Administration API).
// What keygate does not meter is not answered as if it were none: a family with no operation here has empty buckets,
// and a filter by something that is not recorded is refused.

import type { Family } from '../rollup/model.ts';

export type Group =
  | 'project_id'
  | 'user_id'
  | 'api_key_id'
  | 'model'
  | 'batch'
  | 'service_tier'
  | 'api_source'
  | 'size'
  | 'source'
  | 'context_level'
  | 'vector_store_id'
  | 'line_item'
  // keygate's own:
  | 'provider'
  | 'operation'
  | 'family';

export type ListFilter =
  | 'project_ids'
  | 'user_ids'
  | 'api_key_ids'
  | 'models'
  | 'sources'
  | 'line_items'
  | 'providers'
  // Not recorded:
  | 'sizes'
  | 'context_levels'
  | 'vector_store_ids';

export type Kind =
  /** The calls of a family. */
  | { readonly of: 'family'; readonly family: Family }
  /** The web searches of any call. */
  | { readonly of: 'searches' }
  | { readonly of: 'costs' }
  /** keygate's own: everything of every call. */
  | { readonly of: 'everything' }
  /** Nothing of this kind goes through keygate. */
  | { readonly of: 'nothing' };

export interface Report {
  readonly path: string;
  /** The `object` of a result. */
  readonly object: string;
  readonly kind: Kind;
  readonly groups: readonly Group[];
  readonly filters: readonly ListFilter[];
  readonly batchFilter: boolean;
  readonly about: string;
}

const WHO = ['project_id', 'user_id', 'api_key_id'] as const;
const WHOSE = ['project_ids', 'user_ids', 'api_key_ids'] as const;

function usage(name: string, kind: Kind, rest: Partial<Report> & Pick<Report, 'about'>): Report {
  return {
    path: `/v1/organization/usage/${name}`,
    object: `organization.usage.${name}.result`,
    kind,
    groups: [...WHO, 'model'],
    filters: [...WHOSE, 'models'],
    batchFilter: false,
    ...rest,
  };
}

const NOTHING: Kind = { of: 'nothing' };

export const REPORTS: readonly Report[] = [
  usage(
    'completions',
    { of: 'family', family: 'completions' },
    {
      groups: [...WHO, 'model', 'batch', 'service_tier', 'api_source'],
      batchFilter: true,
      about: 'Chat completions, completions and responses.',
    },
  ),
  usage('embeddings', { of: 'family', family: 'embeddings' }, { about: 'Embeddings.' }),
  usage('moderations', { of: 'family', family: 'moderations' }, { about: 'Moderations.' }),
  usage(
    'images',
    { of: 'family', family: 'images' },
    {
      groups: [...WHO, 'model', 'size', 'source'],
      filters: [...WHOSE, 'models', 'sources', 'sizes'],
      about: 'Images made. Their sizes are not recorded.',
    },
  ),
  usage('audio_speeches', { of: 'family', family: 'audio_speeches' }, { about: 'Text to speech.' }),
  usage(
    'audio_transcriptions',
    { of: 'family', family: 'audio_transcriptions' },
    { about: 'Transcriptions and translations of audio.' },
  ),
  usage(
    'web_search_calls',
    { of: 'searches' },
    {
      object: 'organization.usage.web_searches.result',
      groups: [...WHO, 'model', 'context_level', 'api_source'],
      filters: [...WHOSE, 'models', 'context_levels'],
      about: 'Web searches that providers ran. Their context levels are not recorded.',
    },
  ),
  usage('file_search_calls', NOTHING, {
    object: 'organization.usage.file_searches.result',
    groups: [...WHO, 'vector_store_id'],
    filters: [...WHOSE, 'vector_store_ids'],
    about: 'File searches: keygate forwards none, so its buckets are empty.',
  }),
  usage('vector_stores', NOTHING, {
    groups: ['project_id'],
    filters: ['project_ids'],
    about: 'Vector stores: keygate serves none, so its buckets are empty.',
  }),
  usage('code_interpreter_sessions', NOTHING, {
    groups: ['project_id'],
    filters: ['project_ids'],
    about: 'Code interpreter sessions: keygate serves none, so its buckets are empty.',
  }),
  usage('decisions', NOTHING, {
    groups: [...WHO, 'model', 'batch', 'service_tier', 'api_source'],
    batchFilter: true,
    about: 'The Decisions API: keygate does not serve it, so its buckets are empty.',
  }),
  {
    path: '/v1/organization/costs',
    object: 'organization.costs.result',
    kind: { of: 'costs' },
    groups: ['project_id', 'user_id', 'line_item', 'api_key_id', 'api_source'],
    filters: ['project_ids', 'api_key_ids', 'line_items'],
    batchFilter: false,
    about: 'What the calls cost, by day.',
  },
  {
    path: '/v1/keygate/usage',
    object: 'keygate.usage.result',
    kind: { of: 'everything' },
    groups: [...WHO, 'model', 'provider', 'family', 'operation', 'service_tier', 'batch'],
    filters: [...WHOSE, 'models', 'providers'],
    batchFilter: true,
    about: 'Everything that is metered, of every family, with its cost.',
  },
];

/** How an operation is called in a report of images. */
export const IMAGE_SOURCES: Readonly<Record<string, string>> = {
  'images.generate': 'image.generation',
  'images.edit': 'image.edit',
  'images.createVariation': 'image.variation',
};

interface LineItem {
  readonly kind: string;
  /** In a line item's name: `gpt-6.1-sol, input_tokens`. */
  readonly name: string;
  readonly unit: 'tokens' | 'images' | 'characters' | 'duration_seconds' | null;
}

/** The lines of costs, by their kinds on the price list. */
export const LINE_ITEMS: readonly LineItem[] = [
  { kind: 'input', name: 'input_tokens', unit: 'tokens' },
  { kind: 'cachedInput', name: 'cached_input_tokens', unit: 'tokens' },
  { kind: 'cacheWrite', name: 'cache_write_tokens', unit: 'tokens' },
  { kind: 'cacheWrite1h', name: 'cache_write_1h_tokens', unit: 'tokens' },
  { kind: 'audioInput', name: 'audio_input_tokens', unit: 'tokens' },
  { kind: 'imageInput', name: 'image_input_tokens', unit: 'tokens' },
  { kind: 'output', name: 'output_tokens', unit: 'tokens' },
  { kind: 'reasoning', name: 'reasoning_tokens', unit: 'tokens' },
  { kind: 'audioOutput', name: 'audio_output_tokens', unit: 'tokens' },
  { kind: 'imageOutput', name: 'image_output_tokens', unit: 'tokens' },
  { kind: 'image', name: 'images', unit: 'images' },
  { kind: 'character', name: 'characters', unit: 'characters' },
  { kind: 'audioHour', name: 'audio_seconds', unit: 'duration_seconds' },
  { kind: 'search', name: 'web_search_calls', unit: null },
  { kind: 'request', name: 'requests', unit: null },
  // Charged to budgets, and not what the prices give: a call that was cut before its usage was known.
  { kind: 'charged', name: 'other_charges', unit: null },
  { kind: 'unpriced', name: 'unpriced_requests', unit: null },
];

/** Nano-dollars as dollars, exactly: `12.000000001`. */
export function dollarText(nano: bigint): string {
  const sign = nano < 0n ? '-' : '';
  const digits = (nano < 0n ? -nano : nano).toString().padStart(10, '0');
  return `${sign}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** Nano-dollars as the double that is nearest. */
export function dollars(nano: bigint): number {
  return Number(dollarText(nano));
}
