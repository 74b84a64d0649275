// The one type that declared.ts reads: everything under `client.admin` of the pinned client.

import type OpenAI from 'openai';

export type Admin = OpenAI['admin'];
